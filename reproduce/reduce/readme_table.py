"""Write the results table of the README from the study's outcome.

    python reproduce/reduce/readme_table.py runs/reduce-study

copies the outcome into ``reproduce/reduce/results`` and rewrites the table; without a run folder it
rewrites the table from the copy.
"""

import re
import sys
from pathlib import Path

from chipmend.errors import ChipmendError
from chipmend.files import write_bytes
from chipmend.fleet import read_outcome
from chipmend.report import markdown_table

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- reduce study -->\n", "<!-- end of reduce study -->"


def readme_with_table() -> str:
    """The README's text with the table as the committed outcome has it."""
    table = markdown_table(read_outcome(RESULTS))
    return re.sub(
        f"{BEGIN}.*?{END}", f"{BEGIN}\n{table}\n{END}", README.read_text(), flags=re.DOTALL
    )


def main(arguments: list[str]) -> None:
    """Take a run's outcome, if one is named, and rewrite the README."""
    try:
        if not arguments and not RESULTS.exists():
            sys.exit("error: no results are kept yet: give the run folder of the finished study")
        if arguments:
            read_outcome(arguments[0]).write(RESULTS)
        write_bytes(README, readme_with_table().encode())
    except ChipmendError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
