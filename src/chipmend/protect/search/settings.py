"""How protection is searched for."""

from dataclasses import dataclass
from typing import Literal

from chipmend.errors import PlanError


@dataclass(frozen=True, slots=True, kw_only=True)
class Searching:
    """How protection is searched for.

    Args:
        evaluations: How many designs are evaluated, the usual ones not counted.
        method: ``bayesian`` needs the extra ``design``; without it, and without a method given,
            the space is searched by a Sobol sequence and greedily.
        by_chance: Whether to compare with a search by chance of as many evaluations.
        estimating: Samples that the vulnerability of neurons and bits is estimated with.
        injected: Neurons of each layer and class into which flips are injected for the maps.

    Raises:
        PlanError: A number below its least.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    evaluations: int = 30
    method: Literal["bayesian", "sobol-greedy"] | None = None
    by_chance: bool = True
    estimating: int = 1024
    injected: int = 4

    def __post_init__(self) -> None:
        for name, least in (("evaluations", 1), ("estimating", 1), ("injected", 0)):
            if (value := getattr(self, name)) < least:
                raise PlanError(f"search.{name} is {value}", hint=f"give {least} or more")
