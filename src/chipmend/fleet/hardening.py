"""The network that repairs start from: the user's, or under a margin one that stands losses.

A hardened network is kept in the run folder, and cached by all that it depends on, as tables are,
so that other lots of the same network find it; what it cost stands with it, whoever paid.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from chipmend.errors import RepairError, StoreError
from chipmend.faults.screening import Margin
from chipmend.files import cache_folder
from chipmend.fleet.fingerprint import conditions
from chipmend.fleet.runner import Runner
from chipmend.network.task import Task
from chipmend.network.tensors import own_tensors
from chipmend.records import digest_of, plain
from chipmend.repairs.cost import Cost
from chipmend.repairs.hardening import hardened
from chipmend.repairs.tensor_store import TensorStore

FOLDER = "hardened"


def start_of_repairs(
    task: Task, margin: Margin | None, *, seed: int, threads: int, runner: Runner, folder: Path
) -> tuple[Task, Cost]:
    """The task of the network that repairs start from, and what it took to make that network.

    Args:
        task: The clean network and its data.
        margin: What decisions allow for beside fault maps; without one the clean network it is.
        seed: The seed of the run.
        threads: Threads of a worker.
        runner: Has the network hardened, if that was not done before.
        folder: The run folder.

    Raises:
        RepairError: It could not be hardened, or not be kept.
    """
    if margin is None or not margin.harden:
        return task, Cost()
    here = conditions(threads, task.device)
    name = digest_of([task.digest(), margin.harden, seed, here])
    work = Hardening(task, margin.harden, seed, name, folder / FOLDER, cache_folder(FOLDER))
    attempt = 0
    while (kept := work.store.read(name)) is None:  # what the run folder lost is made as it was
        attempt += 1
        job = f"{name}, {attempt}"
        done = runner.results("hardening", "hardening the network", work, {job: job})[job]
        if "failed" in done:
            raise RepairError(
                f"the network could not be hardened: {done['failed']}",
                hint="mend the cause and start the same again, or give the margin harden = 0",
            )
    tensors, cost = kept
    return task.with_tensors(tensors), cost


@dataclass(frozen=True, eq=False)
class Hardening:
    """Hardens a network: picklable, and the same for every worker.

    Args:
        task: The network and its data.
        epochs: By how much.
        seed: The seed of the run.
        name: What it is kept under, which says all that it depends on.
        folder: Where the run keeps it.
        cache: Where other runs find it.
    """

    task: Task
    epochs: float
    seed: int
    name: str
    folder: Path
    cache: Path

    @property
    def store(self) -> TensorStore:
        """Where the run keeps it."""
        return TensorStore(self.folder, self.task.device)

    def __call__(self, _: str, tick: Callable[[float], object]) -> dict[str, Any]:
        """Harden it, if no other run has; what that cost, as JSON can hold it."""

        def made() -> tuple[dict[str, Tensor], Cost]:
            network, cost = hardened(self.task, self.epochs, seed=self.seed, tick=tick)
            return {name: t.contiguous() for name, t in own_tensors(network).items()}, cost

        cached = TensorStore(self.cache, self.task.device)
        cost = self.store.get(self.name, lambda: cached.get(self.name, made))[1]
        if self.store.read(self.name) is None:
            raise StoreError(
                f"cannot keep it in {self.folder}", hint="make room there, and start the same again"
            )
        return plain(cost)
