"""The verb ``design`` in Python: the cheapest protection of a network, before tape-out."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chipmend.errors import ArrayError, NetworkError
from chipmend.files import write_bytes
from chipmend.fleet.arrangement import Arrangement, cores
from chipmend.fleet.designing import Designing, nothing_meets
from chipmend.fleet.fingerprint import conditions
from chipmend.fleet.progress import Progress, Unwatched
from chipmend.fleet.runner import Runner
from chipmend.fleet.store import SqliteStore
from chipmend.hardware.array import Array
from chipmend.network.evaluate import scores
from chipmend.network.gemm import gemms
from chipmend.network.integer.codes import Codes
from chipmend.network.integer.graph import tensors_of
from chipmend.network.integer.network import IntegerNetwork, lowering
from chipmend.network.processor import computing_with
from chipmend.network.samples import batches
from chipmend.network.task import Task
from chipmend.protect.circuit import found_yosys, synthesized, table
from chipmend.protect.design.accuracy import scored
from chipmend.protect.design.costs import parameters
from chipmend.protect.design.evaluation import Evaluator, Targets, Variant
from chipmend.protect.design.parameters import Space
from chipmend.protect.design.shifts import Shifts, chosen
from chipmend.protect.design.subject import Subject
from chipmend.protect.maps import LayerMap, layer_maps
from chipmend.protect.search import Searching, found_botorch
from chipmend.protect.study import DesignOutcome, Study
from chipmend.protect.vulnerability.estimate import Vulnerability, vulnerabilities
from chipmend.records import digest_of, plain, rebuilt
from chipmend.simulate.flips import BitErrors

BATCH, ESTIMATED_TOGETHER, LOWERED = 256, 128, 512
"""Samples that are computed together, that share a place where they are hit, and that grids are
found with."""


def design(
    task: Task,
    *,
    array: Array,
    errors: BitErrors | Sequence[BitErrors],
    targets: Targets | None = None,
    space: Space | None = None,
    searching: Searching | None = None,
    seed: int = 0,
    run: str | Path | None = None,
    workers: int | None = 1,
    threads: int | None = None,
    progress: Progress | None = None,
    plan: Mapping[str, Any] | None = None,
) -> DesignOutcome:
    """Find the cheapest protection of a network on an array whose bits flip now and then.

    The network is brought to 8 bits, and all that is said of accuracy is said against that.

    Args:
        task: The network and its data.
        array: The array as it would be without protection; its sums wrap around.
        errors: How often bits flip: once, or several times, each of which gets its own design.
        targets: What is to be reached.
        space: The designs that are looked at.
        searching: How.
        seed: Of everything random.
        run: Run folder; the same call goes on where it was interrupted.
        workers: Worker processes; one works in this process.
        threads: Threads of each.
        progress: Who watches.
        plan: The plan as written, for the report.

    Returns:
        The designs that were found, beside the usual ones.

    Raises:
        NetworkError: The task is on another device than a CPU.
        ArrayError: Flips of no bits, or sums that do not wrap around.
        ConstraintError: No design may meet the targets: says which one binds.
        FingerprintError: The run was begun under another plan.
    """
    rates = [errors] if isinstance(errors, BitErrors) else list(errors)
    _check(task, array, rates)
    targets, space, searching = targets or Targets(), space or Space(), searching or Searching()
    arrangement = Arrangement(
        workers=workers or cores(), threads=threads or max(1, cores() // (workers or cores()))
    )
    method = searching.method or ("bayesian" if found_botorch() else "sobol-greedy")
    with ExitStack() as stack:
        folder = Path(run) if run is not None else Path(stack.enter_context(TemporaryDirectory()))
        stack.enter_context(computing_with(arrangement.threads))
        store = stack.enter_context(closing(SqliteStore(folder)))
        runner = Runner(arrangement.executor(), store, progress or Unwatched())
        asked = {"array": array, "errors": rates, "targets": targets, "space": space}
        asked["search"] = [replace(searching, evaluations=1), method]  # more may be asked for later
        runner.check_fingerprint(
            {
                "network and data": task.digest(),
                **{name: digest_of(part) for name, part in asked.items()},
                "seed": seed,
                "designs at once": arrangement.workers,
                **conditions(arrangement.threads, task.device),
            },
            "design",
        )
        made = _Making(task, array, space, searching, seed, runner, folder)
        variants = made.variants()
        studies = list[Study]()
        for rate in rates:
            evaluator = Evaluator(
                variants=variants,
                errors=rate,
                targets=targets,
                batches=made.validation,
                clean=made.clean,
                metric=task.metric,
                seed=seed,
                precision=searching.precision,
            )
            designing = Designing(
                evaluator, space, runner, _name(rate), seed, at_once=arrangement.workers
            )
            study = designing.study(method, searching.evaluations, by_chance=searching.by_chance)
            if not study.meets:
                raise nothing_meets(study, evaluator)
            studies.append(designing.tested(study, *made.test))
        return made.outcome(studies, method, targets, plan or {})


def _check(task: Task, array: Array, rates: Sequence[BitErrors]) -> None:
    """Refuse what cannot be searched.

    Raises:
        NetworkError: The task is on another device than a CPU.
        ArrayError: Flips of no bits, or sums that do not wrap around.
    """
    if task.device.type != "cpu":
        raise NetworkError(
            f"protection is designed on a CPU, and the task is on {task.device}",
            hint="leave the device out",
        )
    if not rates or any(not (rate.accumulator or rate.product) for rate in rates):
        raise ArrayError(
            "bit errors: nothing flips in the array",
            hint="give a rate above 0 for accumulator, or for product",
        )
    if array.accumulators.overflow != "wrap" or array.accumulators.tiles != "outside":
        raise ArrayError(
            "protection is designed for sums that wrap around and are added up outside",
            hint="set array.accumulators.overflow to 'wrap' and tiles to 'outside'",
        )


def _name(errors: BitErrors) -> str:
    """A rate in a few characters.

    Example:
        >>> _name(BitErrors(accumulator=1e-6, weights=1e-8))
        'accumulator 1e-06, weights 1e-08'
    """
    return ", ".join(f"{name} {rate:g}" for name, rate in plain(errors).items() if rate)


@dataclass(eq=False)
class _Making:
    """Makes what searches need of a task, and what people are told of them."""

    task: Task
    array: Array
    space: Space
    searching: Searching
    seed: int
    runner: Runner
    folder: Path
    validation: list[tuple[Tensor, Tensor]] = field(init=False)
    clean: np.ndarray = field(init=False)
    tensors: dict[str, Tensor] = field(init=False)
    first: Subject = field(init=False)
    found_shifts: dict[int, Shifts] = field(default_factory=dict)
    networks: dict[int, IntegerNetwork] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.validation = list(batches(self.task.validation, BATCH, self.task.device))
        self.tensors = tensors_of(self.task.model)
        self.networks[0] = self._quantized()
        self.clean = self._scored(self.networks[0], self.validation)

    @cached_property
    def test(self) -> tuple[list[tuple[Tensor, Tensor]], np.ndarray]:
        """The test split, and the scores of the network without flips."""
        samples = list(batches(self.task.test, BATCH, self.task.device))
        return samples, self._scored(self.networks[0], samples)

    def variants(self) -> dict[tuple[int, int, int], Variant]:
        """The network for every size of the array and every number of shifts."""
        counts = dict.fromkeys((0, *self.space.shifts))
        sizes = dict.fromkeys(((self.array.rows, self.array.cols), *self.space.sizes))
        widest = max(self.array.accumulators.bits, *self.space.accumulator_bits, 0)
        jobs = [(size, count) for size in sizes for count in counts]
        self.runner.progress.phase("vulnerability of neurons and bits", len(jobs), 0)
        found = {}
        for (rows, cols), count in jobs:
            self.runner.progress.job_begun()
            network = self._with_shifts(count)
            sums = replace(self.array.accumulators, bits=widest)
            on = replace(self.array, rows=rows, cols=cols, accumulators=sums)
            known = self._vulnerabilities(network, on, f"{rows}x{cols}, {count} shifts")
            lost = float(self.clean.mean() - self._scored(network, self.validation).mean())
            found[rows, cols, count] = Variant(
                subject=Subject.of(network, on, known),
                shifts=self.found_shifts.get(count, ()),
                lost=lost,
            )
            self.runner.progress.job_done()
        self.first = found[self.array.rows, self.array.cols, 0].subject
        return found

    def outcome(
        self,
        studies: Sequence[Study],
        method: str,
        targets: Targets,
        plan: Mapping[str, Any],
    ) -> DesignOutcome:
        """All that is told of the searches."""
        exact = tuple(_synthesized(study, self.array) for study in studies)
        clean = float(self.test[1].mean())
        was = float(scores(self.task.model, self.task.test, self.task.metric).mean())
        notes = [
            f"the network was brought to 8 bits: {100 * was:.2f} % right on the test split before, "
            f"{100 * clean:.2f} % after"
        ]
        if method == "sobol-greedy":
            notes.append(
                "searched by a Sobol sequence and greedily, without learning: install the extra "
                "'design' for Bayesian search"
            )
        if not found_yosys():
            notes.append(
                "Yosys is not installed: areas are those of the table that is shipped, made with it"
            )
        return DesignOutcome(
            array=self.array,
            targets=targets,
            space=self.space,
            method=method,
            float_accuracy=was,
            clean_accuracy=clean,
            studies=tuple(studies),
            maps=tuple(self._maps()),
            shifts={str(count): shifts for count, shifts in self.found_shifts.items()},
            area_error=_area_error(studies),
            synthesized=exact,
            notes=tuple(notes),
            plan=dict(plan),
        )

    def _scored(self, network: IntegerNetwork, samples: list[tuple[Tensor, Tensor]]) -> np.ndarray:
        return scored(network, samples, self.task.metric)

    def _quantized(self) -> IntegerNetwork:
        model, calibrating = self.task.model, self.task.calibrating
        some = self.task.calibration(LOWERED, self.seed)
        inputs, _ = calibrating.batch(some)
        found = lowering(model, [inputs.to(self.task.device)])
        codes = {gemm.name: Codes.nearest(gemm.weight) for gemm in gemms(model)}
        return IntegerNetwork(found, self.tensors, codes)

    def _with_shifts(self, count: int) -> IntegerNetwork:
        if count not in self.networks:
            self.found_shifts[count], self.networks[count] = chosen(
                self.networks[0],
                self.tensors,
                count,
                lambda network: float(self._scored(network, self.validation).mean()),
            )
        return self.networks[count]

    def _vulnerabilities(
        self, network: IntegerNetwork, array: Array, name: str
    ) -> dict[str, Vulnerability]:
        """How vulnerable neurons and bits are, from the run folder or estimated now."""
        path = self.folder / f"vulnerability {name}.npz"
        if path.exists():
            with np.load(path) as kept:
                return {key: Vulnerability(torch.from_numpy(kept[key])) for key in kept.files}
        order = torch.from_numpy(self.task.look_order(self.seed)[: self.searching.estimating])
        some = [self.task.validation.batch(part) for part in order.split(ESTIMATED_TOGETHER)]
        device = self.task.device
        found = vulnerabilities(
            network,
            [(inputs.to(device), targets.to(device)) for inputs, targets in some],
            self.task.loss,
            array=array,
            seed=self.seed,
        )
        _keep(path, {key: each.change.numpy() for key, each in found.items()})
        return found

    def _maps(self) -> list[LayerMap]:
        store, name = self.runner.store, "maps of vulnerability"
        if (kept := store.fact(name)) is not None:
            return [rebuilt(LayerMap, each) for each in kept["layers"]]
        self.runner.progress.phase("injected flips, for maps", 1, 0)
        self.runner.progress.job_begun()
        found = layer_maps(
            self.first,
            self.validation[:1],
            self.task.loss,
            neurons=self.searching.injected,
            each=8,
            seed=self.seed,
        )
        store.keep_fact(name, {"layers": plain(found)})
        self.runner.progress.job_done()
        return found


def _keep(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Keep arrays, whole or not at all."""
    whole = BytesIO()
    np.savez(whole, **dict(arrays))  # pyright: ignore[reportArgumentType]
    write_bytes(path, whole.getvalue())


def _area_error(studies: Sequence[Study]) -> float:
    """The largest error of the areas that are looked up."""
    cone = any(study.errors.product for study in studies)
    return max(fit.error for name, fit in table().items() if cone or not name.endswith("cone"))


def _synthesized(study: Study, array: Array) -> int | None:
    """Transistors of a PE of the design that was found, as Yosys has it now."""
    if not found_yosys():
        return None
    return synthesized("pe", pe_parameters(study, array)).transistors


def pe_parameters(study: Study, array: Array) -> dict[str, int]:
    """The parameters of the Verilog of a PE of the design that was found."""
    found = study.found.evaluation
    return parameters(
        found.design.accumulator_bits,
        range(found.first, found.last),
        weight_bits=array.memory.bits,
        cone=bool(study.errors.product),
    )
