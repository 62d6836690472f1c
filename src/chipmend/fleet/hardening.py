"""The network that repairs start from: the user's, or under a margin one that stands losses.

A hardened network is cached by all that it depends on, as tables are, so that other lots of the
same network find it; what it cost stands with it, whoever paid.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from chipmend.errors import RepairError
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

Tick = Callable[[float], object]


def start_of_repairs(
    task: Task, margin: Margin | None, *, seed: int, threads: int, runner: Runner
) -> tuple[Task, Cost]:
    """The task of the network that repairs start from, and what it took to make that network.

    Args:
        task: The clean network and its data.
        margin: What decisions allow for beside fault maps; without one the clean network it is.
        seed: The seed of the run.
        threads: Threads of a worker.
        runner: Has a network hardened, if that was not done before.

    Raises:
        RepairError: It could not be hardened.
    """
    if margin is None or not margin.harden:
        return task, Cost()
    here = conditions(threads, task.device)
    work = Hardening(task, margin.harden, seed, here, cache_folder("hardened"))
    done = runner.results("hardening", "hardening the network", work, {work.name: work.name})
    if "failed" in (result := done[work.name]):
        raise RepairError(
            f"the network could not be hardened: {result['failed']}",
            hint="mend the cause and start the same again, or give the margin harden = 0",
        )
    return work.found()


@dataclass(frozen=True, eq=False)
class Hardening:
    """Hardens a network: picklable, and the same for every worker.

    Args:
        task: The network and its data.
        epochs: By how much.
        seed: The seed of the run.
        conditions: Versions, device and threads: part of what the result depends on.
        cache: Folder of hardened networks.
    """

    task: Task
    epochs: float
    seed: int
    conditions: dict[str, Any]
    cache: Path

    @property
    def name(self) -> str:
        """What the network is kept under."""
        return digest_of([self.task.digest(), self.epochs, self.seed, self.conditions])

    def __call__(self, _: str, tick: Tick) -> dict[str, Any]:
        """Harden it, if nobody has; what that cost, as JSON can hold it."""
        return plain(self.found(tick)[1])

    def found(self, tick: Tick = lambda _: None) -> tuple[Task, Cost]:
        """The task of the hardened network, and what that cost: from the cache, or made now."""

        def made() -> tuple[dict[str, Tensor], Cost]:
            network, cost = hardened(self.task, self.epochs, seed=self.seed, tick=tick)
            return {name: t.contiguous() for name, t in own_tensors(network).items()}, cost

        tensors, cost = TensorStore(self.cache, self.task.device).get(self.name, made)
        return self.task.with_tensors(tensors), cost
