"""What a run's results depend on. A run goes on only under the fingerprint it was begun with."""

import functools
import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch

from chipmend.errors import FingerprintError
from chipmend.faults.maps import Chip
from chipmend.network.description import digest_of_behaviour
from chipmend.network.precision import has_bf16
from chipmend.network.task import Task
from chipmend.records import digest_of, plain
from chipmend.version import __version__

SHOWING = ("cli", "plan", "report")
"""Rooms whose code changes no result."""
CODE = (".py", ".v", ".json")


def fingerprint(
    task: Task, chips: Sequence[Chip], plan: Mapping[str, Any], threads: int
) -> dict[str, Any]:
    """Gather what the results of a run depend on.

    Args:
        task: Network, data, metric and loss.
        chips: The lot.
        plan: What is done to it: array, constraint, policies, analysis, seed.
        threads: Threads of a worker.

    Returns:
        Parts by name.
    """
    return {
        "network and data": task.digest(),
        "chips": digest_of([(chip.id, chip.faults.digest()) for chip in chips]),
        **{name: digest_of_behaviour(part) for name, part in plan.items()},
        **conditions(threads, task.device),
    }


def conditions(threads: int, device: torch.device) -> dict[str, Any]:
    """The part of a fingerprint that is not the user's: code, device, precision, threads."""
    return {
        "chipmend": __version__,
        "code": digest_of_code(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "device": "cpu" if device.type == "cpu" else _name_of(device),
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "dtype": "bfloat16" if has_bf16(device.type) else "float32",
        "threads per worker": threads,
    }


@functools.cache
def digest_of_code() -> str:
    """Hex digest of the code that results depend on: all of chipmend but what reads and shows.

    Verilog and tables of areas belong to it.
    """
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        inside = path.relative_to(package)
        if inside.parts[0] not in SHOWING and path.suffix in CODE:
            digest.update(f"{inside.as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _name_of(device: torch.device) -> str:
    return f"{device.type} {torch.cuda.get_device_name(device)}"


def check_same(kept: Mapping[str, Any], now: Mapping[str, Any], folder: object) -> None:
    """Refuse to go on under another fingerprint.

    Raises:
        FingerprintError: Says which parts differ, and how.
    """
    differing = [name for name in {**kept, **now} if kept.get(name) != now.get(name)]
    if differing:
        said = "; ".join(_difference(name, kept.get(name), now.get(name)) for name in differing)
        raise FingerprintError(
            f"the run in {folder} was begun under other conditions: {said}",
            hint="restore them to go on with it, or begin in another run folder",
        )


def _difference(name: str, kept: Any, now: Any) -> str:
    if isinstance(kept, str) and len(kept) == 64:
        return f"{name} changed"
    return f"{name} was {kept}, is {now}"


def described(part: Any) -> Any:
    """A part of a plan as reports show it: its class and what it says."""
    kind = f"{type(part).__module__}.{type(part).__qualname__}"
    return {"class": kind, **plain(part if is_dataclass(part) else getattr(part, "__dict__", {}))}
