"""What every benchmark shares: its arguments, and the JSON that it leaves behind."""

import argparse
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from chipmend.files import write_bytes

LIBRARIES = ("numpy", "scipy", "torch")


def arguments(description: str | None, parts: Sequence[str] = ()) -> argparse.Namespace:
    """Read the command line.

    Args:
        description: What the benchmark measures.
        parts: Parts of it that may be measured anew by themselves.

    Returns:
        ``quick``, whether fewer cases are wanted, ``json``, the path of the result, and ``only``,
        the part that is wanted anew; none if all are.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer cases, within ten minutes")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="the result")
    if parts:
        text = "measure this part anew, and keep what the result has of the others"
        parser.add_argument("--only", choices=parts, help=text)
    options = parser.parse_args()
    if getattr(options, "only", None) and not _is_there(options):
        quick = "a quick" if options.quick else "a full"
        parser.error(f"{options.json} is not the result of {quick} run; leave out --only")
    return options


def _is_there(options: argparse.Namespace) -> bool:
    """Whether there is a result of a run as quick as this one."""
    try:
        return json.loads(options.json.read_bytes())["quick"] == options.quick
    except (OSError, ValueError, KeyError):
        return False


def kept(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of the result that is there, of other parts than the one that is wanted anew.

    Each says at which commit it was measured.
    """
    if options.only is None:
        return []
    before = json.loads(options.json.read_bytes())
    rows = [row for row in before["rows"] if row["part"] != options.only]
    return [{"commit": before["commit"], **row} for row in rows]


def write(
    name: str,
    options: argparse.Namespace,
    figures: Mapping[str, float | None],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Write the result, and say what was measured and where it is.

    Args:
        name: Name of the benchmark.
        options: What ``arguments`` gave.
        figures: The numbers that claims rest on, by flat names.
        rows: Every single measurement.
    """
    result = {
        "benchmark": name,
        "quick": options.quick,
        "commit": commit(),
        "machine": machine(),
        "figures": dict(figures),
        "rows": list(rows),
    }
    write_bytes(options.json, json.dumps(result, indent=1, allow_nan=False).encode() + b"\n")
    for figure, value in figures.items():
        print(f"{figure}: {'none' if value is None else f'{value:.4g}'}")
    print(options.json)


def commit() -> str | None:
    """Name the commit that is measured, with ``+`` where tracked files differ from it."""
    head = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return head and head + ("+" if changed else "")


def machine() -> dict[str, Any]:
    """Describe the computer and the libraries."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "python": platform.python_version(),
        **{name: _version(name) for name in LIBRARIES},
    }


def _git(*command: str) -> str | None:
    folder = Path(__file__).parent
    try:
        done = subprocess.run(  # noqa: S603
            ["git", *command],  # noqa: S607
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
