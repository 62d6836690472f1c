"""The command line: a file per verb. Heavy imports wait until a verb needs them."""

import sys

from chipmend.cli import (  # noqa: F401  they register
    analyze,
    bundle,
    chips,
    compare,
    demo,
    design,
    mend,
    report,
    verify,
)
from chipmend.cli.app import run

__all__ = ["main"]


def main() -> None:
    """Entry point of the command ``chipmend``."""
    sys.exit(run())
