"""The command line: one app, its errors, and what every verb does in the same way."""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError
from rich.console import Console
from rich.table import Table

from chipmend.errors import ChipmendError, StoreError
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
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError("write a whole number") from None


Whole = Annotated[int, Parameter(converter=_whole)]

INTERRUPTED = 130

out = Console(emoji=False)
err = Console(stderr=True, emoji=False)


def run(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line.

    Args:
        arguments: The words after ``chipmend``; the process's own by default.

    Returns:
        Exit code: 0 done, 2 an error of ours, 130 interrupted.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without block characters is no error
    try:
        app(arguments, exit_on_error=False, print_error=False, console=out)
    except ChipmendError as error:
        _tell_error(str(error))
        return 2
    except UnusedCliTokensError as error:
        extra = " ".join(error.unused_tokens or [])
        _tell_error(f"nothing is asked for by {extra!r}\n  hint: leave it out, or see --help")
        return 2
    except CycloptsError as error:
        _tell_error(
            f"{error}\n  hint: 'chipmend --help' and 'chipmend COMMAND --help' say what there is"
        )
        return 2
    except OSError as error:
        where, cause = error.filename, error.strerror or error
        if where is None:
            where = "the standard output"
            _drop_output()
        _tell_error(f"cannot use {where}: {cause}\n  hint: check it; what was made before is kept")
        return 2
    except SystemExit as ended:  # how cyclopts ends what went well, and what was interrupted
        code = int(ended.code or 0)
    except KeyboardInterrupt:
        code = INTERRUPTED
    else:
        code = 0
    if code == INTERRUPTED:
        _tell_error("interrupted; the same command goes on where it stopped")
    return code


def check_outputs(*outputs: Path | None, inputs: Sequence[Path] = ()) -> None:
    """Refuse to write over what is read, or twice to the same file.

    Args:
        outputs: What a verb will write; None where nothing is asked for.
        inputs: What it reads.

    Raises:
        StoreError: Two of them are one file.
    """
    taken = {path.resolve(): path for path in inputs}
    for path in filter(None, outputs):
        if path.exists() and not path.is_file():
            continue  # a pipe or a device may be written to twice
        if path.resolve() in taken:
            raise StoreError(
                f"{path} would be written over {taken[path.resolve()]}: nothing was done",
                hint="give every output a file of its own",
            )
        taken[path.resolve()] = path


def finish(
    made: Path | None,
    summary: Callable[[], Any],
    json_file: Path | None,
    tell: Callable[[], object] = lambda: None,
) -> None:
    """End a verb: write the summary if asked, say what came of it, and name what was made.

    Every file is on disk before the first word, so that nothing is lost when nobody reads on.
    """
    if json_file is not None:
        write_bytes(json_file, (json.dumps(summary(), indent=2) + "\n").encode())
    tell()
    if made is not None:
        say(str(made))


def say(text: str) -> None:
    """Print words as they are: no marks are read in them, and lines are left to the terminal."""
    out.print(text, soft_wrap=True, highlight=False, markup=False)


def print_whole(table: Table) -> None:
    """Print a table at its natural width: in a narrow terminal lines wrap, and nothing is cut."""
    natural = out.measure(table, options=out.options.update(max_width=1000)).maximum
    shown = Console(file=out.file, emoji=False, width=max(out.width, natural))
    shown.print(table)


def _drop_output() -> None:
    """Let go of what the standard output did not take: at the exit it would be tried again."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell_error(message: str) -> None:
    err.print("[bold red]error:[/] ", end="")
    err.print(message, soft_wrap=True, highlight=False, markup=False)
