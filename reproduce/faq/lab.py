"""What the FAQ studies share: networks with chips of their own, and rows kept as they are measured.

Every row is appended to a file of JSON lines once it is there, and is not measured again.
"""

import contextlib
import functools
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

import chipmend as cm
from chipmend.faults import FaultMap
from chipmend.faults.stuck_at import stuck_bits
from chipmend.files import write_bytes
from chipmend.network import gemms
from chipmend.network.processor import computing_with, keep_freed_memory
from chipmend.repairs import Workbench
from chipmend.repairs.calibration import Calibration

RESULTS = Path(__file__).parent / "results"
NETWORKS = ("mobilenet_v2", "resnet18", "vgg16", "vgg11", "alexnet")
"""The slowest first."""
SEED = 23


class Lab:
    """One network, and any chip with stuck bits.

    Args:
        network: Its name in the zoo.
    """

    def __init__(self, network: str) -> None:
        keep_freed_memory()
        data = cm.fashion_mnist()
        self.network = network
        self.task = cm.Task(
            cm.trained(network), train=data.train, validation=data.validation, test=data.test
        )
        self.calibration = Calibration(self.task, 0)
        self.memory = cm.WeightMemory(words=sum(g.weight.numel() for g in gemms(self.task.model)))

    def bench(self, rate: float, chip: int) -> Workbench:
        """The bench of a chip; of its stuck bits (rate: per bit) half are stuck at 0."""
        name = f"chip {chip}"
        drawn = cm.StuckAt(rate=rate)
        stuck = stuck_bits(self.memory, drawn, seed=SEED, chip=name) if rate else None
        array = cm.Array(rows=64, cols=64, memory=self.memory)
        return Workbench(
            self.task,
            array,
            FaultMap.of_pes(np.zeros((64, 64), bool), stuck=stuck),
            chip=name,
            seed=0,
            calibration=self.calibration,
        )


Measure = Callable[[Lab, dict[str, Any]], dict[str, Any]]


def measured(
    study: str,
    jobs: Sequence[dict[str, Any]],
    measure: Measure,
) -> list[dict[str, Any]]:
    """Measure what is not yet in the study's file, on two cores, and give all of its rows.

    Args:
        study: Its name; ``results/NAME.jsonl`` keeps its rows.
        jobs: What to measure, each with its ``network``.
        measure: Measures one in a worker process; a function of a module.

    Returns:
        The jobs with what was measured, in order.
    """
    path = RESULTS / f"{study}.jsonl"
    done = dict(_kept(path))
    write_bytes(path, "".join(json.dumps(row) + "\n" for row in done.values()).encode())
    left = [job for name in NETWORKS for job in jobs if job["network"] == name]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool, path.open("a") as file:
        rows = [pool.submit(_measured, measure, job) for job in left if _key(job) not in done]
        for row in as_completed(rows):
            file.write(json.dumps(row.result()) + "\n")
            file.flush()
    done = dict(_kept(path))
    return [done[_key(job)] for job in jobs]


def _measured(measure: Measure, job: dict[str, Any]) -> dict[str, Any]:
    with computing_with(1):
        return {"job": job, **measure(_lab(job["network"]), job)}


@functools.lru_cache(maxsize=1)
def _lab(network: str) -> Lab:
    return Lab(network)


def _kept(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if path.is_file():
        for line in path.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # cut off when the run was ended
                row = json.loads(line)
                yield _key(row["job"]), row


def _key(job: dict[str, Any]) -> str:
    return json.dumps(job, sort_keys=True)
