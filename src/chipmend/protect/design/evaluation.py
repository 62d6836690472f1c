"""What a design comes to: its costs, and how far accuracy falls; whether it meets the targets."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from chipmend.errors import ConstraintError
from chipmend.hardware.array import Array
from chipmend.network.evaluate import Metric, accuracy
from chipmend.protect.design.accuracy import Fall, fall
from chipmend.protect.design.costs import Costs, costs
from chipmend.protect.design.parameters import Design, Quantization
from chipmend.protect.design.protection import Protection
from chipmend.protect.design.subject import Subject
from chipmend.protect.vulnerability.slopes import Batch
from chipmend.simulate.flips import BitErrors

VariantKey = tuple[int, int, Quantization]
SUREST = 0.999
"""The greatest confidence that can be asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What a design has to reach.

    Args:
        drop_under_faults: The accuracy that flips may cost, against the network in integers without
            any, as a fraction.
        drop_without_faults: The accuracy that the design may cost without any flip.
        slowdown: The share of cycles that may be added.
        confidence: How sure the drop under faults is to be no larger.

    Raises:
        ConstraintError: One of them is no such number.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    drop_under_faults: float = 0.01
    drop_without_faults: float = 0.003
    slowdown: float = 0.05
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name, most in (
            ("drop_under_faults", 1),
            ("drop_without_faults", 1),
            ("slowdown", math.inf),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value < most):
                raise ConstraintError(
                    f"targets.{name} is {value}",
                    hint="give a fraction; 0.01 is one point, or one percent more cycles",
                )
        if not 0 < self.confidence <= SUREST:
            raise ConstraintError(
                f"targets.confidence is {self.confidence}",
                hint=f"give a probability above 0, up to {SUREST}; 0.95 is usual",
            )
        if not self.drop_under_faults:
            raise ConstraintError(
                "targets.drop_under_faults is 0, of which no sample can make sure",
                hint="give a fraction above 0; 0.01 is one point",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The network as some designs have it: brought to integers in one way, on an array of a size.

    Args:
        subject: The network on the array.
        lost: By how much its mean score is below that of the reference.
    """

    subject: Subject
    lost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a design comes to.

    Args:
        design: The design.
        first: The lowest bit that is protected in PEs.
        last: One above the highest.
        costs: Its costs.
        harm: By how much the loss of a sample is expected to change, to first order.
        lost: Accuracy lost without any flip, as a fraction.
        fall: How far accuracy falls under faults; none as long as that was not computed.
        missed: Targets that are missed.
    """

    design: Design
    first: int
    last: int
    costs: Costs
    harm: float
    lost: float
    fall: Fall | None
    missed: tuple[str, ...]

    @property
    def meets(self) -> bool:
        """Whether it meets all targets."""
        return not self.missed


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluator:
    """Evaluates designs of one network at one rate of flips.

    Args:
        array: The array of the plan, whose costs without protection all others are told against.
        variants: By rows, columns and quantization; the plan's array with the default one is among
            them.
        errors: How often bits flip.
        targets: What is to be reached.
        batches: Samples.
        clean: Scores of the reference on them.
        metric: Scores samples from outputs and targets.
        seed: Of the flips.
        whole: Whether all samples are computed, however clear a drop is before.
    """

    array: Array
    variants: dict[VariantKey, Variant]
    errors: BitErrors
    targets: Targets
    batches: list[Batch]
    clean: Float64[np.ndarray, " samples"]
    seed: int
    metric: Metric = accuracy
    whole: bool = False

    def variant(self, design: Design) -> Variant:
        """The network as a design has it."""
        return self.variants[design.rows, design.cols, design.quantization]

    def protection(self, design: Design) -> Protection:
        """A design on its network."""
        return Protection(design, self.variant(design).subject, self.errors)

    @cached_property
    def reference(self) -> Protection:
        """The plan's array without any protection."""
        array = self.array
        return self.protection(
            Design(rows=array.rows, cols=array.cols, accumulator_bits=array.accumulators.bits)
        )

    @property
    def most_cycles(self) -> int:
        """The most cycles that a sample may take."""
        return math.floor((1 + self.targets.slowdown) * self.reference.subject.cycles)

    def known(self, design: Design) -> Evaluation:
        """What is known of a design before anything is computed with it."""
        protection, variant = self.protection(design), self.variant(design)
        found = costs(protection, self.reference)
        missed = []
        if variant.lost > self.targets.drop_without_faults:
            missed.append("drop_without_faults")
        if found.slowdown > self.targets.slowdown:
            missed.append("slowdown")
        return Evaluation(
            design=protection.design,
            first=protection.ordinary.start,
            last=protection.ordinary.stop,
            costs=found,
            harm=protection.harm(),
            lost=variant.lost,
            fall=None,
            missed=tuple(missed),
        )

    def fits(self, design: Design) -> bool:
        """Whether the accumulators of a design hold the network's sums."""
        return self.variant(design).subject.widest <= design.accumulator_bits

    def __call__(self, design: Design, _: Callable[[float], object] = lambda _: None) -> Evaluation:
        """Evaluate a design; what an executor is told in between is of no use here."""
        known = self.known(design)
        found = self.fall(design)
        if found.p_value > 1 - self.targets.confidence:
            known = replace(known, missed=(*known.missed, "drop_under_faults"))
        return replace(known, fall=found)

    def fall(self, design: Design) -> Fall:
        """How far accuracy falls under a design."""
        return fall(
            self.protection(design),
            self.batches,
            self.clean,
            self.targets.drop_under_faults,
            seed=self.seed,
            whole=self.whole,
            metric=self.metric,
        )
