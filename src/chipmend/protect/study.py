"""What a search for protection came to, at one rate of flips and at several."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chipmend.errors import ConstraintError
from chipmend.hardware.array import Array
from chipmend.protect.circuit import Synthesized
from chipmend.protect.design.accuracy import Fall
from chipmend.protect.design.evaluation import Evaluation, Targets
from chipmend.protect.design.parameters import Quantization, Space
from chipmend.protect.design.permanent import Masked
from chipmend.protect.maps import LayerMap
from chipmend.simulate.flips import BitErrors


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A design of the table.

    Args:
        name: What kind it is.
        evaluation: What it comes to on validation.
        test: How far accuracy falls on the test split, which steered nothing.
        lost_on_test: Accuracy lost without any flip on it, as a fraction.
        masked: What of permanent faults it masks.
    """

    name: str
    evaluation: Evaluation
    test: Fall | None = None
    lost_on_test: float | None = None
    masked: Masked | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What a search came to at one rate.

    Args:
        errors: How often bits flip.
        rows: The usual designs, and at last the one that was found: the smallest of all evaluated
            that meets the targets, or the nearest to that.
        searched: What the search evaluated, in order.
        by: What came up with the design that was found: ``search``, or the name of its row.
        unmet: Why no design meets the targets; none if one does.
        left_out: Designs of the space that were not looked at, there being too many.
    """

    errors: BitErrors
    rows: tuple[Row, ...]
    searched: tuple[Evaluation, ...]
    by: str = "search"
    unmet: str | None = None
    left_out: int = 0

    @property
    def meets(self) -> bool:
        """Whether any design meets the targets."""
        return self.unmet is None

    @property
    def found(self) -> Row:
        """The design that was found."""
        return self.rows[-1]

    def row(self, name: str) -> Row:
        """A row by its name."""
        return next(row for row in self.rows if row.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignOutcome:
    """What a search for protection came to.

    Args:
        array: The array.
        targets: What was to be reached.
        space: All designs that were looked at.
        method: How it was searched.
        float_accuracy: Of the network as given, on the test split.
        clean_accuracy: Of the network in integers without any flip, on the test split.
        studies: What came of it, by rate.
        maps: How vulnerable layers are.
        shifts: The shifts that were chosen for each quantization that has some.
        area_error: The largest error of the table of areas, as a share.
        synthesized: A PE of each design found, as Yosys has it now; none without it.
        notes: What people are to know of how this came about.
        plan: The plan as written.
    """

    array: Array
    targets: Targets
    space: Space
    method: str
    float_accuracy: float
    clean_accuracy: float
    studies: tuple[Study, ...]
    maps: tuple[LayerMap, ...]
    shifts: tuple[tuple[Quantization, tuple[int, ...]], ...]
    area_error: float
    synthesized: tuple[Synthesized | None, ...]
    notes: tuple[str, ...] = ()
    plan: Mapping[str, Any] = field(default_factory=dict)

    def check_met(self) -> None:
        """Refuse an outcome that lacks a design for some rate.

        Raises:
            ConstraintError: Says for which, what binds, and how far the best is.
        """
        if unmet := [study.unmet for study in self.studies if study.unmet]:
            raise ConstraintError(
                "; ".join(unmet),
                hint="allow more, let the space have more protection, or give search.evaluations "
                "more",
            )
