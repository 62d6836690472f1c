"""Tensors that all workers of a machine share: worked out once, kept in files, mapped to memory."""

import fcntl
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from chipmend.errors import StoreError
from chipmend.files import write_bytes
from chipmend.records import plain, rebuilt
from chipmend.repairs.cost import Cost

logger = logging.getLogger(__name__)

Make = Callable[[], tuple[dict[str, Tensor], Cost]]
"""Works tensors out, and says what that cost; the seconds are measured where it does not say."""


@dataclass(frozen=True, slots=True)
class TensorStore:
    """Keeps tensors by name, with what they cost.

    Args:
        folder: Where; nowhere, if that is not given.
        device: Where tensors are wanted. On the processor they are memory maps, so that workers on
            one machine share one copy.
    """

    folder: Path | None
    device: torch.device

    def get(self, name: str, make: Make) -> tuple[dict[str, Tensor], Cost]:
        """What is kept under a name, or else is made now and kept there.

        Of several processes that want the same, one makes it and the others wait for it.
        """
        if self.folder is None:
            return _made(make)
        path = self.folder / f"{name}.safetensors"
        try:
            with _locked(path):
                return self._kept(path, make)
        except StoreError as error:
            logger.warning("%s: every worker works it out again", error.message)
            return _made(make)

    def read(self, name: str) -> tuple[dict[str, Tensor], Cost] | None:
        """What is kept under a name; none if nothing is, or only what was damaged."""
        if self.folder is None:
            return None
        try:
            return self._read(self.folder / f"{name}.safetensors")
        except (OSError, ValueError, SafetensorError):
            return None

    def _kept(self, path: Path, make: Make) -> tuple[dict[str, Tensor], Cost]:
        try:
            return self._read(path)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, SafetensorError):
            logger.warning("%s is damaged: it is worked out again", path)
        tensors, cost = _made(make)
        write_bytes(path, save(tensors, {"cost": json.dumps(plain(cost))}))
        return self._read(path)

    def _read(self, path: Path) -> tuple[dict[str, Tensor], Cost]:
        with safe_open(path, framework="pt", device=str(self.device)) as kept:
            cost = rebuilt(Cost, json.loads((kept.metadata() or {}).get("cost", "null")))
            return {name: kept.get_tensor(name) for name in kept.keys()}, cost  # noqa: SIM118


def _made(make: Make) -> tuple[dict[str, Tensor], Cost]:
    started = time.perf_counter()
    tensors, cost = make()
    return tensors, replace(cost, seconds=cost.seconds or time.perf_counter() - started)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Only one process works at a file at a time; the lock ends with the process."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock").open("w")
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
