"""Looks at a network: an assessment, the validation split, the better of two."""

from dataclasses import dataclass, field
from typing import Literal

from chipmend.errors import PlanError
from chipmend.steps.repair import OneShot

_STRICT = {"extra": "forbid"}


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
