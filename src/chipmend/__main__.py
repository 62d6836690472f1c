"""``python -m chipmend``: the command line."""

from chipmend.cli import main

if __name__ == "__main__":
    main()
