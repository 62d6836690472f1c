"""What searches for protection need of a task: its network in integers, and samples."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from chipmend.files import write_bytes
from chipmend.fleet.fingerprint import conditions
from chipmend.fleet.runner import Runner
from chipmend.hardware.array import Array
from chipmend.network.gemm import gemms
from chipmend.network.integer.codes import Codes
from chipmend.network.integer.graph import tensors_of
from chipmend.network.integer.network import IntegerNetwork, lowering
from chipmend.network.samples import batches
from chipmend.network.task import Task
from chipmend.protect.design.accuracy import scored
from chipmend.protect.design.evaluation import Variant, VariantKey
from chipmend.protect.design.parameters import Quantization, Space
from chipmend.protect.design.quantization import quantized
from chipmend.protect.design.shifts import Shifts
from chipmend.protect.design.subject import Subject
from chipmend.protect.vulnerability.estimate import Vulnerability, vulnerabilities
from chipmend.records import digest_of, plain

BATCH, ESTIMATED_TOGETHER, LOWERED = 256, 64, 512
"""Samples that are computed together, that are hit in the same bits, and that grids are found
with."""
OF = "what these are of"


@dataclass(eq=False)
class Prepared:
    """What searches need of a task.

    Args:
        task: The network and its data.
        array: The array of the plan.
        space: The designs that are looked at.
        estimating: Samples that vulnerability is estimated with.
        seed: Of everything random.
        runner: Tells of progress.
        folder: Keeps vulnerabilities.
    """

    task: Task
    array: Array
    space: Space
    estimating: int
    seed: int
    runner: Runner
    folder: Path
    validation: list[tuple[Tensor, Tensor]] = field(init=False)
    clean: np.ndarray = field(init=False)
    tensors: dict[str, Tensor] = field(init=False)
    first: Subject = field(init=False)
    found_shifts: dict[Quantization, Shifts] = field(default_factory=dict)
    networks: dict[Quantization, IntegerNetwork] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.validation = list(batches(self.task.validation, BATCH, self.task.device))
        self.tensors = tensors_of(self.task.model)
        self.networks[Quantization()] = self._quantized()
        self.clean = self._scored(self.networks[Quantization()], self.validation)

    @cached_property
    def test(self) -> tuple[list[tuple[Tensor, Tensor]], np.ndarray]:
        """The test split, and the scores of the network without flips."""
        samples = list(batches(self.task.test, BATCH, self.task.device))
        return samples, self._scored(self.networks[Quantization()], samples)

    def variants(self) -> dict[VariantKey, Variant]:
        """The network for every size of the array and every way to bring it to integers."""
        ways = dict.fromkeys((Quantization(), *self.space.quantizations))
        sizes = dict.fromkeys(((self.array.rows, self.array.cols), *self.space.sizes))
        widest = max(self.array.accumulators.bits, *self.space.accumulator_bits, 0)
        jobs = [(size, how) for size in sizes for how in ways]
        self.runner.progress.phase("vulnerability of neurons and bits", len(jobs), 0)
        found = {}
        for (rows, cols), how in jobs:
            self.runner.progress.job_begun()
            network = self._brought(how)
            sums = replace(self.array.accumulators, bits=widest)
            on = replace(self.array, rows=rows, cols=cols, accumulators=sums)
            known = self._vulnerabilities(network, on, _name(rows, cols, how))
            lost = float(self.clean.mean() - self._scored(network, self.validation).mean())
            found[rows, cols, how] = Variant(subject=Subject.of(network, on, known), lost=lost)
            self.runner.progress.job_done()
        self.first = found[self.array.rows, self.array.cols, Quantization()].subject
        return found

    def _scored(self, network: IntegerNetwork, samples: list[tuple[Tensor, Tensor]]) -> np.ndarray:
        return scored(network, samples, self.task.metric)

    def _quantized(self) -> IntegerNetwork:
        model, calibrating = self.task.model, self.task.calibrating
        some = self.task.calibration(LOWERED, self.seed)
        inputs, _ = calibrating.batch(some)
        found = lowering(model, [inputs.to(self.task.device)])
        codes = {
            gemm.name: Codes.nearest(gemm.weight, self.array.memory.highest)
            for gemm in gemms(model)
        }
        return IntegerNetwork(found, self.tensors, codes)

    def _brought(self, how: Quantization) -> IntegerNetwork:
        """The network brought to integers in a way."""
        if how not in self.networks:
            shifts, self.networks[how] = quantized(
                self.networks[Quantization()],
                self.tensors,
                how,
                lambda network: float(self._scored(network, self.validation).mean()),
                highest=self.array.memory.highest,
            )
            if shifts:
                self.found_shifts[how] = shifts
        return self.networks[how]

    def _vulnerabilities(
        self, network: IntegerNetwork, array: Array, name: str
    ) -> dict[str, Vulnerability]:
        """How vulnerable neurons and bits are, from the run folder or estimated now."""
        path = self.folder / f"vulnerability {name}.npz"
        of = digest_of([*self._conditions, plain(array), name])
        if (kept := _kept(path, of)) is not None:
            return {key: Vulnerability(torch.from_numpy(each)) for key, each in kept.items()}
        order = torch.from_numpy(self.task.look_order(self.seed)[: self.estimating])
        some = [self.task.validation.batch(part) for part in order.split(ESTIMATED_TOGETHER)]
        device = self.task.device
        found = vulnerabilities(
            network,
            [(inputs.to(device), targets.to(device)) for inputs, targets in some],
            self.task.loss,
            array=array,
            seed=self.seed,
        )
        _keep(path, of, {key: each.change.numpy() for key, each in found.items()})
        return found

    @cached_property
    def _conditions(self) -> list[Any]:
        """What vulnerabilities depend on beside the array and the quantization."""
        threads = torch.get_num_threads()
        here = conditions(threads, self.task.device)
        return [self.task.digest(), self.estimating, self.seed, here]


def _name(rows: int, cols: int, how: Quantization) -> str:
    return f"{rows}x{cols}, {how.shifts} shifts, range {how.activation_range!r}"


def _keep(path: Path, of: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Keep arrays, whole or not at all, and what they are of."""
    whole = BytesIO()
    np.savez(whole, **{OF: np.array(of)}, **dict(arrays))  # pyright: ignore[reportArgumentType]
    write_bytes(path, whole.getvalue())


def _kept(path: Path, of: str) -> dict[str, np.ndarray] | None:
    """Arrays that were kept; none if there are none, they are damaged or of something else."""
    try:
        with np.load(BytesIO(path.read_bytes())) as kept:
            arrays = {key: kept[key] for key in kept.files}
    except (OSError, ValueError, EOFError, BadZipFile):
        return None
    return arrays if str(arrays.pop(OF, "")) == of else None
