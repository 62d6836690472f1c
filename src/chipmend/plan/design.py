"""The tables of a plan for protection: what ``chipmend design`` does."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from chipmend.errors import ArrayError
from chipmend.hardware.array import Array
from chipmend.network.task import Task
from chipmend.plan.tables import (
    Execution,
    FactoryData,
    FactoryModel,
    NamedData,
    ZooModel,
    task_of,
)
from chipmend.protect.design.evaluation import Targets
from chipmend.protect.design.parameters import Space
from chipmend.protect.search.settings import Searching
from chipmend.records import ByField
from chipmend.simulate.flips import BitErrors

_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRates:
    """How often bits flip; of several rates each gets a design of its own.

    Args:
        accumulator: Rates of bits that adders hand on.
        product: Rates of bits that multipliers hand on; not beside the others.
        weights: Of bits of weights as they are read, beside each.
        activations: Of bits of activations, beside each.

    Raises:
        ArrayError: No rate, or one that is none.
    """

    __pydantic_config__ = _STRICT

    accumulator: tuple[float, ...] = ()
    product: tuple[float, ...] = ()
    weights: float = 0.0
    activations: float = 0.0

    def __post_init__(self) -> None:
        if self.accumulator and self.product:
            raise ArrayError(
                "rates of accumulators and of multipliers",
                hint="make a plan for each: what protects from them differs in cost",
            )
        for rate in (*self.accumulator, *self.product):
            if rate == 0:
                raise ArrayError("a rate of 0, at which nothing flips", hint="give rates above 0")
        if not self.rates():
            raise ArrayError("no rate", hint="give accumulator, for example [1e-6]")

    def rates(self) -> list[BitErrors]:
        """One by one."""
        beside = {"weights": self.weights, "activations": self.activations}
        return [
            *(BitErrors(accumulator=rate, **beside) for rate in self.accumulator),
            *(BitErrors(product=rate, **beside) for rate in self.product),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignPlan:
    """Everything that a search for protection does.

    Args:
        model: The network.
        data: Its data.
        array: The array as it would be without protection.
        errors: How often bits flip.
        targets: What is to be reached.
        space: The designs that are looked at.
        search: How they are searched.
        execution: How it is executed.
        seed: The seed of everything random.
    """

    __pydantic_config__ = _STRICT
    described: ClassVar[str] = "design-plan.md"
    """Where in ``docs/reference`` it is described."""

    model: Annotated[ZooModel | FactoryModel, ByField("zoo", "factory")]
    data: Annotated[NamedData | FactoryData, ByField("name", "factory")]
    array: Array
    errors: ErrorRates
    targets: Targets = field(default_factory=Targets)
    space: Space = field(default_factory=Space)
    search: Searching = field(default_factory=Searching)
    execution: Execution = field(default_factory=Execution)
    seed: int = 0

    def files(self) -> list[Path]:
        """Files that the plan reads."""
        weights = getattr(self.model, "weights", None)
        return [] if weights is None else [weights]

    def task(self) -> Task:
        """Build the network and read the data."""
        return task_of(self.model, self.data, self.execution.device)
