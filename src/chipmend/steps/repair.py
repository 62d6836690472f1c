"""Repairs without training: prune, remap, compensate, correct norms."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from chipmend.errors import PlanError
from chipmend.records import ByKind
from chipmend.steps.checks import LEAST_SAMPLES, check_count, check_samples, check_share

_STRICT = {"extra": "forbid"}


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
        check_samples("match", self.samples)


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
        check_samples("reestimate", self.samples)


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
        check_samples("one_shot", self.samples, LEAST_SAMPLES)
        check_share("one_shot: damping", self.damping)
        check_count("one_shot: places", self.places)


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
        check_samples("sequential", self.samples, LEAST_SAMPLES)
        check_share("sequential: pull", self.pull)
        check_count("sequential: places", self.places)


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
        check_count("closed_form: joint_sweeps", self.joint_sweeps, least=0)


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
