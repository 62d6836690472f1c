"""The command line: one app, its errors, and what every verb does in the same way."""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from chipmend.errors import ChipmendError
from chipmend.files import write_bytes
from chipmend.version import __version__

app = App(
    name="chipmend",
    help="Repair pretrained neural networks for accelerator chips with permanent faults.",
    version=f"chipmend {__version__}",
)

Json = Annotated[
    Path | None, Parameter(name="--json", help="Also write a machine-readable summary here.")
]


def _whole(_: object, tokens: Sequence[Any]) -> int:
    """A whole number as it is written: 1.5 is none, and is not rounded to one."""
    return int(tokens[0].value)


Whole = Annotated[int, Parameter(converter=_whole)]

INTERRUPTED = 130

out = Console()
err = Console(stderr=True)


def run(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line.

    Args:
        arguments: The words after ``chipmend``; the process's own by default.

    Returns:
        Exit code: 0 done, 2 an error of ours, 130 interrupted.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        app(arguments, exit_on_error=False, print_error=False, console=out)
    except ChipmendError as error:
        _tell(str(error))
        return 2
    except CycloptsError as error:
        _tell(f"{error}\n  hint: 'chipmend --help' and 'chipmend COMMAND --help' say what there is")
        return 2
    except SystemExit as ended:  # how cyclopts ends what went well, and what was interrupted
        code = int(ended.code or 0)
    except KeyboardInterrupt:
        code = INTERRUPTED
    else:
        code = 0
    if code == INTERRUPTED:
        _tell("interrupted; the same command goes on where it stopped")
    return code


def finish(made: Path | None, summary: Callable[[], Any], json_file: Path | None) -> None:
    """End a verb: write the summary if asked, and name what was made."""
    if json_file is not None:
        write_bytes(json_file, (json.dumps(summary(), indent=2) + "\n").encode())
    if made is not None:
        out.print(str(made), soft_wrap=True, highlight=False, markup=False)


def _tell(message: str) -> None:
    err.print("[bold red]error:[/] ", end="")
    err.print(message, soft_wrap=True, highlight=False, markup=False)
