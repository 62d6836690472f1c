"""The repair actions as plain data: one declaration is Python API, plan table and stored record.

What an action does lives in ``repairs``, a file per step.
"""

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from chipmend.errors import PlanError
from chipmend.records import ByKind

_STRICT = {"extra": "forbid"}
MOST_EPOCHS = 1_000_000
LEAST_SAMPLES = 16
"""Inputs below which second moments say next to nothing."""


def _check_count(what: str, count: object, least: int = 1) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < least:
        raise PlanError(f"{what}: {count!r}", hint=f"give a whole number, at least {least}")


def _check_samples(what: str, samples: object, least: int = 2) -> None:
    if not isinstance(samples, int) or samples < least:
        raise PlanError(
            f"{what}: {samples!r} samples are too few",
            hint=f"give a whole number, at least {least}",
        )


def _check_share(what: str, share: float) -> None:
    if not (math.isfinite(share) and share >= 0):
        raise PlanError(f"{what} {share}", hint="give a finite number from 0 up; 0.01 is common")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Zero the weights on faulty PEs (FAP)."""

    __pydantic_config__ = _STRICT

    kind: Literal["prune"] = "prune"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Give every channel the mean and spread that it has in the clean network on the same inputs.

    Few inputs do, as they tell nothing but the change; inputs unlike the training data, by what
    the norms have stored of it, are trusted the less. A layer with a bias and no norm behind it
    gets its mean back through the bias.

    Args:
        samples: Calibration inputs, which go through the network at once: as of ``Sequential``.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["match"] = "match"
    samples: int = 512

    def __post_init__(self) -> None:
        _check_samples("match", self.samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reestimate:
    """Estimate the statistics of norms anew, on inputs of the training split.

    Args:
        samples: Training inputs; fewer if there are fewer.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["reestimate"] = "reestimate"
    samples: int = 2048

    def __post_init__(self) -> None:
        _check_samples("reestimate", self.samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalibrate:
    """Correct the statistics of norms, from unlabelled calibration inputs.

    Args:
        form: How they are corrected.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["recalibrate"] = "recalibrate"
    form: Annotated[Match | Reestimate, ByKind()] = field(default_factory=Match)

    def __post_init__(self) -> None:
        if not isinstance(self.form, Match | Reestimate):
            raise PlanError(
                f"recalibrate: the form is {self.form!r}", hint="give Match() or Reestimate()"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class OneShot:
    """Every layer alone, against the clean network's inputs: the network is not even run.

    Args:
        samples: Calibration inputs.
        places: Rows of each matrix product that are looked at.
        damping: Share of the mean second moment that is added to every diagonal.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["one_shot"] = "one_shot"
    samples: int = 2048
    places: int = 8192
    damping: float = 0.01

    def __post_init__(self) -> None:
        _check_samples("one_shot", self.samples, LEAST_SAMPLES)
        _check_share("one_shot: damping", self.damping)
        _check_count("one_shot: places", self.places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequential:
    """Layer by layer, on what already repaired layers hand on, toward the clean outputs.

    Args:
        samples: Calibration inputs, which go through the network at once: fewer if there are
            fewer, or if the memory it takes would be above 2 GiB.
        places: Rows of each matrix product that are looked at.
        pull: Share of the mean second moment by which weights are held to the clean ones.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["sequential"] = "sequential"
    samples: int = 4096
    places: int = 8192
    pull: float = 0.003

    def __post_init__(self) -> None:
        _check_samples("sequential", self.samples, LEAST_SAMPLES)
        _check_share("sequential: pull", self.pull)
        _check_count("sequential: places", self.places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compensate:
    """Let healthy weights take over what lost ones did, in closed form, without a gradient step.

    Args:
        form: How.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["compensate"] = "compensate"
    form: Annotated[OneShot | Sequential, ByKind()] = field(default_factory=Sequential)

    def __post_init__(self) -> None:
        if not isinstance(self.form, OneShot | Sequential):
            raise PlanError(
                f"compensate: the form is {self.form!r}", hint="give OneShot() or Sequential()"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Magnitude:
    """A weight is as salient as it is large (SalvageDNN)."""

    __pydantic_config__ = _STRICT

    kind: Literal["magnitude"] = "magnitude"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedForm:
    """A weight is as salient as its layer's outputs suffer once the others make up for it.

    Args:
        moments: How the layer's inputs are known.
        joint_sweeps: How often the couplings are gone through with an output's lost weights taken
            together rather than each alone.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["closed_form"] = "closed_form"
    moments: OneShot = field(default_factory=OneShot)
    joint_sweeps: int = 1

    def __post_init__(self) -> None:
        _check_count("closed_form: joint_sweeps", self.joint_sweeps, least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remap:
    """Permute channels so that the least salient weights meet the faulty PEs (FAM).

    The network begins anew: clean, under the new mapping.

    Args:
        saliency: What losing a weight costs.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["remap"] = "remap"
    saliency: Annotated[Magnitude | ClosedForm, ByKind()] = field(default_factory=ClosedForm)

    def __post_init__(self) -> None:
        if not isinstance(self.saliency, Magnitude | ClosedForm):
            raise PlanError(
                f"remap: the saliency is {self.saliency!r}",
                hint="give Magnitude() or ClosedForm()",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Anytime:
    """A constant learning rate, and a running average of the weights that favours the latest.

    An amount of retraining then means the same alone as along a longer trajectory.

    Args:
        averaging: How strongly late weights count: the average at step ``t`` weighs step ``i`` as
            about ``i ** averaging`` (polynomial-decay averaging, Shamir and Zhang 2013).
    """

    __pydantic_config__ = _STRICT

    kind: Literal["anytime"] = "anytime"
    averaging: float = 3.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.averaging) and self.averaging >= 0):
            raise PlanError(
                f"anytime: averaging {self.averaging}", hint="give a finite number from 0 up"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decaying:
    """A learning rate that falls to zero along a cosine, made for one amount alone."""

    __pydantic_config__ = _STRICT

    kind: Literal["decaying"] = "decaying"


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Learn the training split's targets."""

    __pydantic_config__ = _STRICT

    kind: Literal["labels"] = "labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Distill:
    """Learn what the clean network says of the training inputs; their targets are not looked at.

    The loss is the divergence of the class probabilities [Hinton2015] where the task's own is cross
    entropy, else the mean squared difference of outputs. The clean network's forward pass is on the
    bill.

    Args:
        temperature: Divides both networks' outputs before they become probabilities.

    References:
        [Hinton2015] Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["distill"] = "distill"
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise PlanError(
                f"distill: a temperature of {self.temperature}",
                hint="give a positive, finite number; 2 is common",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrain:
    """Train on with the faulty weights held at zero (FAT), then estimate norms anew.

    Two retrainings in a row with the same anytime settings are one of their summed amount.

    Args:
        epochs: Passes over the training split; fractions are fine.
        learning_rate: Peak learning rate.
        batch: Samples per step.
        weight_decay: Decay of the weights, per unit of learning rate.
        schedule: How the learning rate goes.
        teacher: What is learnt.
        recalibrate: What follows every retraining: the norms' statistics are stale after it.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["retrain"] = "retrain"
    epochs: float = 1.0
    learning_rate: float = 0.02
    batch: int = 128
    weight_decay: float = 5e-4
    schedule: Annotated[Anytime | Decaying, ByKind()] = field(default_factory=Anytime)
    teacher: Annotated[Labels | Distill, ByKind()] = field(default_factory=Labels)
    recalibrate: Reestimate = field(default_factory=Reestimate)

    def __post_init__(self) -> None:
        if not 0 < self.epochs <= MOST_EPOCHS:
            raise PlanError(
                f"retrain: {self.epochs} epochs",
                hint=f"give a positive number of at most {MOST_EPOCHS:,}",
            )
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise PlanError(
                f"retrain: a learning rate of {self.learning_rate}",
                hint="give a positive, finite number",
            )
        if not isinstance(self.batch, int) or self.batch < 1:
            raise PlanError(
                f"retrain: a batch of {self.batch}", hint="give a whole number, at least 1"
            )
        if not isinstance(self.schedule, Anytime | Decaying):
            raise PlanError(
                f"retrain: the schedule is {self.schedule!r}", hint="give Anytime() or Decaying()"
            )
        if not isinstance(self.teacher, Labels | Distill):
            raise PlanError(
                f"retrain: the teacher is {self.teacher!r}", hint="give Labels() or Distill()"
            )
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise PlanError(
                f"retrain: weight decay {self.weight_decay}", hint="give a finite number from 0 up"
            )


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
    """

    __pydantic_config__ = _STRICT

    kind: Literal["compensated_faq"] = "compensated_faq"
    moments: OneShot = field(default_factory=OneShot)
    faulty_first: bool = False
    steps_tried: tuple[float, ...] = (1.0,)
    turned: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps_tried", _steps("compensated_faq", self.steps_tried))


def _steps(what: str, shares: object) -> tuple[float, ...]:
    tried = tuple(shares) if isinstance(shares, list | tuple) else ()
    if not tried or not all(isinstance(s, int | float) and 0 < s <= 1 for s in tried):
        raise PlanError(
            f"{what}: steps_tried {shares!r}",
            hint="give shares of the plain step above 0, up to 1: [1.0, 0.9, 0.8]",
        )
    return tried


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
    form: Annotated[Naive | FAQ | CompensatedFAQ, ByKind()] = field(default_factory=CompensatedFAQ)
    activations: Annotated[LeastSquares | Percentile, ByKind()] = field(
        default_factory=LeastSquares
    )
    samples: int = 512
    unknown: Literal["refuse", "float"] = "refuse"

    def __post_init__(self) -> None:
        _check_samples("quantize", self.samples, LEAST_SAMPLES)
        if not isinstance(self.form, Naive | FAQ | CompensatedFAQ):
            raise PlanError(
                f"quantize: the form is {self.form!r}",
                hint="give Naive(), FAQ() or CompensatedFAQ()",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Assess:
    """Say from second moments alone how much the lost weights matter; look at no sample.

    Args:
        moments: How the layers' inputs are known.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["assess"] = "assess"
    moments: OneShot = field(default_factory=OneShot)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """Look at the validation split. Changes nothing, and is on the bill.

    Args:
        share: Of the split; what an earlier look at the same network saw is seen for nothing.
    """

    __pydantic_config__ = _STRICT

    kind: Literal["measure"] = "measure"
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise PlanError(
                f"measure: a share of {self.share}", hint="give a fraction above 0, up to 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepBetter:
    """Go back to the network before retraining if that does better on the validation split."""

    __pydantic_config__ = _STRICT

    kind: Literal["keep_better"] = "keep_better"


Step = Prune | Remap | Recalibrate | Compensate | Quantize | Retrain | KeepBetter | Assess | Measure
Form = (
    Match
    | Reestimate
    | OneShot
    | Sequential
    | Magnitude
    | ClosedForm
    | Anytime
    | Decaying
    | Labels
    | Distill
    | Naive
    | FAQ
    | CompensatedFAQ
    | LeastSquares
    | Percentile
)
"""Choices within steps, told apart by their kinds as steps are."""
Recipe = tuple[Step, ...]
"""The ordered steps for one chip."""
