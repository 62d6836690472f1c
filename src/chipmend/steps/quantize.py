"""Quantization: how codes are chosen, and the steps of activations."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from chipmend.errors import PlanError
from chipmend.records import ByKind
from chipmend.steps.checks import LEAST_SAMPLES, check_count, check_samples, check_share
from chipmend.steps.repair import OneShot

_STRICT = {"extra": "forbid"}
STEPS_TRIED = (1.0, 0.95, 0.9, 0.85, 0.8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Naive:
    """Store the nearest code in every word, and let its stuck bits make of it what they will."""

    __pydantic_config__ = _STRICT

    kind: Literal["naive"] = "naive"


@dataclass(frozen=True, slots=True, kw_only=True)
class FAQ:
    """Store the code that is read as the nearest number (fault-aware quantization).

    Args:
        steps_tried: Shares of the plain step, with which an output's largest magnitude is the
            highest number, of which the best is taken for each output.
        turned: Whether the negative of an output is tried too; its step is negative then.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["faq"] = "faq"
    steps_tried: tuple[float, ...] = (1.0,)
    turned: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps_tried", _steps("faq", self.steps_tried))


@dataclass(frozen=True, slots=True, kw_only=True)
class CompensatedFAQ:
    """FAQ weight by weight, the later ones making up for what the earlier ones could not be.

    Weights on lost PEs are made up for as well, so a prune just before it is not needed.

    Args:
        moments: How the layers' inputs are known.
        faulty_first: Whether weights in words with stuck bits are settled before all others.
        steps_tried: As of ``FAQ``.
        turned: As of ``FAQ``.
        hold: Weights that others would move by fewer codes than this stay as they were, so that
            less of a chip's network differs from what all chips share.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["compensated_faq"] = "compensated_faq"
    moments: OneShot = field(default_factory=OneShot)
    faulty_first: bool = False
    steps_tried: tuple[float, ...] = STEPS_TRIED
    turned: bool = True
    hold: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps_tried", _steps("compensated_faq", self.steps_tried))
        if not 0 <= self.hold < math.inf:
            raise PlanError(f"compensated_faq: a hold of {self.hold} codes", hint="give 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialFAQ:
    """Compensated FAQ on what already coded layers hand on, toward the clean network's outputs.

    Weights begin anew from the clean ones, as under ``Sequential``.

    Args:
        samples: As of ``Sequential``.
        places: As of ``Sequential``.
        pull: As of ``Sequential``.
        faulty_first: As of ``CompensatedFAQ``.
        steps_tried: As of ``FAQ``.
        turned: As of ``FAQ``.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["sequential_faq"] = "sequential_faq"
    samples: int = 4096
    places: int = 8192
    pull: float = 0.003
    faulty_first: bool = False
    steps_tried: tuple[float, ...] = STEPS_TRIED
    turned: bool = True

    def __post_init__(self) -> None:
        check_samples("sequential_faq", self.samples, LEAST_SAMPLES)
        check_share("sequential_faq: pull", self.pull)
        check_count("sequential_faq: places", self.places)
        object.__setattr__(self, "steps_tried", _steps("sequential_faq", self.steps_tried))


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastSquares:
    """The step of an activation is that of the least mean squared error."""

    __pydantic_config__ = _STRICT

    kind: Literal["least_squares"] = "least_squares"


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentile:
    """The step of an activation is that which reaches a share of all magnitudes.

    Args:
        share: The share.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["percentile"] = "percentile"
    share: float = 0.9999

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise PlanError(f"percentile: a share of {self.share}", hint="give one near 1: 0.9999")


Coded = Naive | FAQ | CompensatedFAQ | SequentialFAQ
"""How codes are chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantize:
    """Turn weights into codes for the words of the chip, and the network into integers.

    What follows may correct norms; the network that is looked at, and that ships, is the integer
    one.

    Args:
        form: How codes are chosen.
        activations: How steps of activations are chosen: once, on the clean network.
        samples: Calibration inputs that these are chosen on.
        unknown: What becomes of operators that integer hardware does not know: ``refuse`` the
            network, or leave them in ``float``.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["quantize"] = "quantize"
    form: Annotated[Coded, ByKind()] = field(default_factory=CompensatedFAQ)
    activations: Annotated[LeastSquares | Percentile, ByKind()] = field(
        default_factory=LeastSquares
    )
    samples: int = 512
    unknown: Literal["refuse", "float"] = "refuse"

    def __post_init__(self) -> None:
        check_samples("quantize", self.samples, LEAST_SAMPLES)
        if not isinstance(self.form, Coded):
            raise PlanError(
                f"quantize: the form is {self.form!r}",
                hint="give Naive(), FAQ(), CompensatedFAQ() or SequentialFAQ()",
            )
        if not isinstance(self.activations, LeastSquares | Percentile):
            raise PlanError(
                f"quantize: activations are {self.activations!r}",
                hint="give LeastSquares() or Percentile()",
            )
        if self.unknown not in ("refuse", "float"):
            raise PlanError(
                f"quantize: unknown operators are {self.unknown!r}", hint="give refuse or float"
            )


def _steps(what: str, shares: object) -> tuple[float, ...]:
    tried = tuple(shares) if isinstance(shares, list | tuple) else ()
    if not tried or not all(isinstance(s, int | float) and 0 < s <= 1 for s in tried):
        raise PlanError(
            f"{what}: steps_tried {shares!r}",
            hint="give shares of the plain step above 0, up to 1: [1.0, 0.9, 0.8]",
        )
    return tried
