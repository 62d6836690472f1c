"""What closed-form repair knows of a network: the same for all its chips, so worked out once.

Moments and targets are kept by all that they depend on, so that workers share them.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from chipmend.errors import DataError
from chipmend.hardware.memory import Filled, WeightMemory
from chipmend.network.coupling import Coupling, couplings
from chipmend.network.dynamic import has_dynamic_products
from chipmend.network.filling import filled
from chipmend.network.gemm import gemms
from chipmend.network.grams import grams
from chipmend.network.integer.grids import least_squares, percentile
from chipmend.network.integer.network import Lowering, lowering
from chipmend.network.intercepts import Intercept, intercepts
from chipmend.network.memory import Footprint, footprint
from chipmend.network.queries import Query, queries
from chipmend.network.sensitivity import Sensitivity, sensitivities
from chipmend.network.task import Task
from chipmend.network.workload import gemm_sizes
from chipmend.records import digest_of
from chipmend.repairs.closed_form import Moments
from chipmend.repairs.cost import Cost, forward_pass
from chipmend.repairs.gptq import factor_of
from chipmend.repairs.match import trust_in
from chipmend.repairs.one_shot import CleanLayer, clean_layers
from chipmend.repairs.packing import (
    packed_layers,
    packed_targets,
    unpacked_layers,
    unpacked_targets,
)
from chipmend.repairs.sequential import Targets, targets
from chipmend.repairs.tensor_store import Make, TensorStore
from chipmend.seeds import chip_seed
from chipmend.steps import (
    LEAST_SAMPLES,
    Assess,
    ClosedForm,
    Compensate,
    CompensatedFAQ,
    Magnitude,
    Match,
    Naive,
    OneShot,
    Patch,
    Percentile,
    Quantize,
    Recalibrate,
    Remap,
    Sequential,
    SequentialFAQ,
    Step,
)

logger = logging.getLogger(__name__)

Kept = OneShot | tuple[int, int]
"""What is kept: moments of some form, or targets of so many samples at so many places."""


@dataclass(frozen=True, slots=True)
class Queries:
    """Stands for where the queries of a network's attention come from."""


Shared = Kept | Quantize | Queries
"""What is shared by all chips: what is kept, how a network is carried out in integers, or where the
queries of its attention come from."""
LARGEST_BATCH = 256
ROOM = 2**31
"""Bytes that what goes through the network at once may take."""
LIVE = 2
"""Bytes that are live in a forward pass, for each byte of its largest operation: a sum over a
branch waits for as much as an operation takes."""
MATCHED_PLACES = 4096
"""Rows of each matrix product over which means are taken where a layer has no norm."""
HALF = 0.5
"""Share of the way below which it is told that calibration inputs are hardly trusted."""
FEW = 4
"""Inputs on which the network's structure is looked at."""
QUERIED = 64
"""Inputs that queries are fitted on: each gives an equation for every query and key."""


class Calibration:
    """What closed-form repair knows of one task, worked out on demand.

    Args:
        task: The network that repairs start from, and its data.
        seed: Chooses the calibration inputs and the rows that are looked at.
        folder: Where moments and targets are kept; nowhere by default.
        conditions: What they depend on besides: versions, device, threads.
    """

    def __init__(
        self, task: Task, seed: int = 0, *, folder: Path | None = None, conditions: Any = None
    ) -> None:
        self.task, self._seed = task, seed
        self._folder, self._conditions = folder, conditions
        self._store = TensorStore(folder, task.device)
        self._known: dict[Any, Any] = {}
        self._costs: dict[Shared, Cost] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Workers get what it is made of; what is known they read from the folder."""
        given = {"folder": self._folder, "conditions": self._conditions}
        return partial(Calibration, **given), (self.task, self._seed)

    def layers(self, form: OneShot) -> Mapping[str, CleanLayer]:
        """What one-shot compensation needs."""
        if form not in self._known:
            held = self._kept(form, lambda: self._clean_layers(form))
            self._known[form] = unpacked_layers(held, self.intercepts)
        return self._known[form]

    def factors(self, form: OneShot) -> Mapping[str, Tensor]:
        """Factors of the inverse moments that one-shot compensation needs, where it has any."""
        key = "factors", form
        if key not in self._known:
            self._known[key] = {
                name: factor_of(layer.known.inverse)
                for name, layer in self.layers(form).items()
                if isinstance(layer.known, Moments) and layer.known.inverse is not None
            }
        return self._known[key]

    def lowering(self, step: Quantize) -> Lowering:
        """How the network is carried out in integers, whatever its codes."""
        key = _without_codes(step)
        if key not in self._known:
            started = time.perf_counter()
            inputs, activations = self.inputs(step.samples), step.activations
            share = activations.share if isinstance(activations, Percentile) else None
            self._known[key] = lowering(
                self.task.model,
                inputs.to(self.task.device).split(self._batch),
                choice=least_squares if share is None else percentile(share),
                float_allowed=step.unknown == "float",
            )
            self._costs[key] = Cost(
                recalibrate=forward_pass(len(inputs), self.task),
                seconds=time.perf_counter() - started,
            )
        return self._known[key]

    def filled(self, memory: WeightMemory) -> Filled:
        """Where the network's weights lie in a memory; one that is too small is told in the log."""
        if memory not in self._known:
            found = self._known[memory] = filled(self.task.model, self.inputs(FEW), memory)
            if found.wraps:
                logger.warning("%s", _in_words(found))
        return self._known[memory]

    def targets(self, samples: int, places: int) -> Targets:
        """What the clean network does with the calibration inputs.

        Args:
            samples: How many inputs.
            places: Rows of each matrix product that are noted.
        """
        key = samples, places
        if key not in self._known:
            held = self._kept(key, lambda: self._targets(samples, places))
            self._known[key] = unpacked_targets(held)
        return self._known[key]

    def bill(self, steps: Iterable[Step]) -> Cost:
        """What it cost to work out all that some steps go by, each thing once."""
        used = sorted({key for step in steps for key in _used_by(step)}, key=repr)
        for key in used:
            if key in self._costs:
                continue
            if isinstance(key, OneShot):
                self.layers(key)
            elif isinstance(key, Quantize):
                self.lowering(key)
            elif isinstance(key, Queries):
                _ = self.queries
            else:
                self.targets(*key)
        return sum((self._costs[key] for key in used), Cost())

    def prepare(self, step: Step) -> None:
        """Work out all that a step goes by, so that the step's own time is its own."""
        self.bill((step,))
        match step:
            case Compensate() | Recalibrate(form=Match()) | Quantize(form=SequentialFAQ()):
                _ = self.intercepts
            case Remap(saliency=kind):
                _ = self.couplings, self.saliency(kind)
            case Assess(moments=moments):
                self.saliency(ClosedForm(moments=moments))
            case Quantize(form=CompensatedFAQ(moments=moments)):
                self.factors(moments)
            case Patch(in_codes=True, moments=moments):
                self.factors(moments)
            case _:
                pass

    def saliency(self, kind: Magnitude | ClosedForm) -> dict[str, Tensor]:
        """What losing each weight costs, by name; a weight that no input reaches costs nothing."""
        if kind not in self._known:
            self._known[kind] = self._saliency(kind)
        return self._known[kind]

    def _saliency(self, kind: Magnitude | ClosedForm) -> dict[str, Tensor]:
        weights = {gemm.name: gemm.weight.detach() for gemm in gemms(self.task.model)}
        if isinstance(kind, Magnitude):
            return {name: weight.abs() for name, weight in weights.items()}
        layers = self.layers(kind.moments)
        return {
            name: layers[name].saliency().view_as(weight) if name in layers else weight * 0
            for name, weight in weights.items()
        }

    def inputs_at_once(self, samples: int) -> Tensor:
        """So many calibration inputs, or as many as there is room for to go through at once."""
        room = int(ROOM // (LIVE * self._footprint.largest))
        return self.inputs(min(samples, max(room, LEAST_SAMPLES)))

    def indices(self, samples: int) -> Int64[Tensor, " samples"]:
        """Which calibration inputs are taken."""
        if samples not in self._known:
            self._known[samples] = self.task.calibration(samples, self._seed)
        return self._known[samples]

    def estimation(self, samples: int) -> Int64[Tensor, " samples"]:
        """Which training samples norms are estimated anew on."""
        key = "estimation", samples
        if key not in self._known:
            self._known[key] = self.task.estimation(samples, self._seed)
        return self._known[key]

    def inputs(self, samples: int) -> Tensor:
        """The calibration inputs.

        Raises:
            DataError: They are too few, or one of them is not a finite number.
        """
        inputs = self.task.calibrating.batch(self.indices(samples))[0]
        if len(inputs) < min(samples, LEAST_SAMPLES):
            raise DataError(
                f"{len(inputs)} inputs to calibrate with are too few",
                hint=f"give at least {LEAST_SAMPLES}; a few hundred already repair well",
            )
        if inputs.is_floating_point() and not torch.isfinite(inputs).all():
            raise DataError(
                "calibration inputs that are not finite numbers",
                hint="clean the training split, or give calibration inputs of their own",
            )
        return inputs

    @cached_property
    def intercepts(self) -> dict[str, Intercept]:
        """Where each layer's outputs can be shifted."""
        return intercepts(self.task.model, self.inputs(FEW))

    @cached_property
    def has_dynamic_products(self) -> bool:
        """Whether the network computes products of two activations."""
        return has_dynamic_products(self.task.model, self.inputs(FEW).to(self.task.device))

    @cached_property
    def queries(self) -> list[Query]:
        """Left operands of products of two activations that a weight gives out."""
        self._costs[Queries()] = Cost()
        if not self.has_dynamic_products:
            return []
        started, inputs = time.perf_counter(), self.inputs_at_once(QUERIED)
        found, passes = queries(self.task.model, inputs)
        self._costs[Queries()] = Cost(
            recalibrate=forward_pass(passes * len(inputs), self.task),
            seconds=time.perf_counter() - started,
        )
        return found

    @cached_property
    def couplings(self) -> list[Coupling]:
        """Channels that can change places."""
        return couplings(self.task.model, self.inputs(FEW))

    def algebra(self, multiply_adds: int) -> float:
        """EE of some multiply-adds: a forward pass over the training split is a third of one."""
        return multiply_adds / (3 * self._multiply_adds_of_a_sample * len(self.task.train))

    @cached_property
    def _multiply_adds_of_a_sample(self) -> float:
        few = self.inputs(FEW)
        return sum(size.multiply_adds for size in gemm_sizes(self.task.model, few)) / len(few)

    @cached_property
    def _footprint(self) -> Footprint:
        return footprint(self.task.model, self.inputs(FEW))

    @cached_property
    def _batch(self) -> int:
        """How many inputs go to and fro at a time."""
        return min(max(1, int(ROOM // self._footprint.given)), LARGEST_BATCH)

    def _clean_layers(self, form: OneShot) -> tuple[dict[str, Tensor], Cost]:
        model, inputs = self.task.model, self.inputs(form.samples)
        known = grams(
            model,
            inputs.split(self._batch),
            samples=len(inputs),
            places=form.places,
            seed=chip_seed(self._seed, "", "places"),
        )
        sensitive, going_back = self._sensitivities(inputs)
        layers = clean_layers(model, known, self.intercepts, form.damping, sensitive)
        inverting = sum(
            gram.mean.numel() * gram.mean.shape[1] ** 2
            for gram in known.values()
            if gram.moments is not None
        )
        work = sum(gram.multiply_adds for gram in known.values()) + inverting
        passing = forward_pass(len(inputs), self.task) + going_back
        return packed_layers(layers), Cost(recalibrate=passing, algebra=self.algebra(work))

    def _targets(self, samples: int, places: int) -> tuple[dict[str, Tensor], Cost]:
        inputs, seed = self.inputs_at_once(samples), chip_seed(self._seed, "", "places")
        if len(inputs) < len(self.indices(samples)):
            logger.warning(
                "%d calibration inputs, not %d: no room for more at once", len(inputs), samples
            )
        sensitive, going_back = self._sensitivities(inputs)
        found, work = targets(
            self.task.model, inputs, places=places, seed=seed, sensitive=sensitive
        )
        if (trust := trust_in(self.task.model, found)) < HALF:
            logger.warning(
                "calibration inputs unlike those that the network's norms were trained on: "
                "matching goes %.0f %% of the way",
                100 * trust,
            )
        passing = forward_pass(len(inputs), self.task) + going_back
        return packed_targets(found), Cost(recalibrate=passing, algebra=self.algebra(work))

    def _sensitivities(self, inputs: Tensor) -> tuple[dict[str, Sensitivity], float]:
        """Sensitivities on some inputs, and the EE of the passes to and fro."""
        seed = chip_seed(self._seed, "", "signs")
        found = sensitivities(self.task.model, inputs.split(self._batch), seed=seed)
        return found, 3 * forward_pass(len(inputs), self.task)

    def _kept(self, key: Kept, make: Make) -> dict[str, Tensor]:
        """Tensors that are kept, or made now and kept; notes their cost."""
        held, self._costs[key] = self._store.get(digest_of([self._digest, key]), make)
        return held

    @cached_property
    def _digest(self) -> str:
        return digest_of([self.task.digest(), self._seed, self._conditions])


def _in_words(filled: Filled) -> str:
    """What a memory that is filled more than once comes to."""
    largest = max(filled.sizes, key=lambda name: filled.sizes[name])
    said = (
        f"the weight memory of {filled.words:,} words is filled several times by "
        f"{sum(filled.sizes.values()):,} weights: one stuck bit hits several"
    )
    if filled.sizes[largest] > filled.words:
        said += f", also within one layer ({largest} has {filled.sizes[largest]:,})"
    return said


def _without_codes(step: Quantize) -> Quantize:
    """What all choices of codes have in common."""
    return replace(step, form=Naive())


def _used_by(step: Step) -> list[Shared]:
    """What a step goes by."""
    match step:
        case Quantize(form=CompensatedFAQ(moments=moments)):
            return [moments, _without_codes(step), Queries()]
        case Quantize(form=SequentialFAQ(samples=samples, places=places)):
            return [(samples, places), _without_codes(step), Queries()]
        case Quantize():
            return [_without_codes(step)]
        case Compensate(form=OneShot() as form):
            return [form, Queries()]
        case Compensate(form=Sequential(samples=samples, places=places)):
            return [(samples, places), Queries()]
        case (
            Remap(saliency=ClosedForm(moments=moments))
            | Assess(moments=moments)
            | Patch(moments=moments)
        ):
            return [moments]
        case Recalibrate(form=Match(samples=samples)):
            return [(samples, MATCHED_PLACES)]
        case _:
            return []
