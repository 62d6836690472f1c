"""The tables of a plan: everything that a run does, and how what they name is built."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag
from torch import nn

from chipmend.confidence.constraint import Accuracy, Drop
from chipmend.data import DATA_SETS, Splits
from chipmend.errors import PlanError
from chipmend.faults.generate import Spatial, Uniform, check_lot_of, make_chips
from chipmend.faults.lot_file import read_lot
from chipmend.faults.lots import Lot
from chipmend.faults.macs_at import MacsAt
from chipmend.faults.screening import Margin, Screening
from chipmend.faults.stuck_at import StuckAt
from chipmend.hardware.array import Array
from chipmend.network.task import Task
from chipmend.plan.factories import made
from chipmend.policy.cascade import Cascade
from chipmend.policy.efat import EFat
from chipmend.policy.fixed import Fixed, FixedSteps
from chipmend.policy.protocol import Policy, check_policies
from chipmend.policy.reduce import Reduce
from chipmend.policy.until_met import UntilMet
from chipmend.records import ByField
from chipmend.resilience.analysis import Analysis
from chipmend.zoo import read_weights_, trained

MOST_AT_ONCE = 1024
"""No machine has more processors to give."""
_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooModel:
    """A reference network with the weights that chipmend ships.

    Args:
        zoo: Its name.
        width: Factor on the number of channels.
    """

    __pydantic_config__ = _STRICT

    zoo: Literal["alexnet", "mobilenet_v2", "resnet18", "vgg11", "vgg16", "vit"]
    width: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class FactoryModel:
    """A network that a function of the user's builds.

    Args:
        factory: ``package.module:function``.
        options: Its keyword arguments.
        weights: A safetensors file to load into what it builds.
    """

    __pydantic_config__ = _STRICT

    factory: str
    options: dict[str, Any] = field(default_factory=dict)
    weights: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedData:
    """A data set that chipmend reads.

    Args:
        name: ``fashion-mnist``, ``cifar-10``, ``cifar-100`` or ``image-folders``.
        path: Folder of its files; Fashion-MNIST is looked for without one.
    """

    __pydantic_config__ = _STRICT

    name: str
    path: Path | None = None

    def __post_init__(self) -> None:
        if self.name not in DATA_SETS:
            raise PlanError(
                f"there is no data set {self.name!r}", hint=f"write {' or '.join(DATA_SETS)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FactoryData:
    """Splits that a function of the user's gives.

    Args:
        factory: ``package.module:function``; it returns train, validation and test.
        options: Its keyword arguments.
    """

    __pydantic_config__ = _STRICT

    factory: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LotFile:
    """Chips from a lot file.

    Args:
        file: The file.
    """

    __pydantic_config__ = _STRICT

    file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeChips:
    """Chips with random faults.

    Args:
        rate: Fault rate (base: per PE), or the two ends of a range.
        count: How many chips.
        spatial: How faults lie on the die.
        spread: Whether rates are drawn in the range, or spread evenly over it.
        stuck: How stuck bits of the weight memory are drawn; none without it.
        macs: How stuck bits of datapaths are drawn, which nothing bypasses; none without it.
        seed: The seed.
        screening: The test that fault maps come from, if it misses faults or sees too many: what
            it misses is there when accuracies are read, and nobody knows of it.
    """

    __pydantic_config__ = _STRICT

    rate: float | tuple[float, float]
    count: int
    spatial: Annotated[Spatial, Field(discriminator="kind")] = field(default_factory=Uniform)
    spread: Literal["drawn", "even"] = "drawn"
    stuck: StuckAt | None = None
    macs: MacsAt | None = None
    seed: int = 0
    screening: Screening | None = None

    def __post_init__(self) -> None:
        check_lot_of(self.rate, self.count)


@dataclass(frozen=True, slots=True, kw_only=True)
class FactoryPolicy:
    """A policy of the user's.

    Args:
        factory: ``package.module:Class``.
        options: Its keyword arguments.
    """

    __pydantic_config__ = _STRICT

    factory: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How a run is executed. Only threads and device can change a result.

    Args:
        run: Run folder.
        workers: Worker processes; without a number the fastest arrangement is measured.
        threads: Threads of each worker.
        device: Where networks are run.
    """

    __pydantic_config__ = _STRICT

    run: Path = Path("runs/chipmend")
    workers: int | None = None
    threads: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("workers", "threads"):
            count = getattr(self, name)
            if count is not None and not 1 <= count <= MOST_AT_ONCE:
                raise PlanError(
                    f"{count} {name}", hint=f"give 1 to {MOST_AT_ONCE:,}, or leave it out"
                )


KIND = "kind "


def _policy_kind(table: Any) -> str:
    if not isinstance(table, Mapping) or "factory" in table:
        return KIND + "factory"
    return KIND + str(table["kind"]) if "kind" in table else ""


OnePolicy = Annotated[
    Annotated[FixedSteps, Tag(KIND + "steps")]
    | Annotated[Fixed, Tag(KIND + "fixed")]
    | Annotated[UntilMet, Tag(KIND + "until_met")]
    | Annotated[Reduce, Tag(KIND + "reduce")]
    | Annotated[EFat, Tag(KIND + "efat")]
    | Annotated[Cascade, Tag(KIND + "cascade")]
    | Annotated[FactoryPolicy, Tag(KIND + "factory")],
    Discriminator(_policy_kind),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that a run does.

    Args:
        model: The network.
        data: Its data.
        array: The array and its placement.
        chips: The lot.
        constraint: What each chip has to reach.
        policies: Who decides.
        analysis: The resilience analysis.
        execution: How it is executed.
        seed: The seed of everything random but the making of chips.
        margin: What decisions allow for beside fault maps; nothing by default.
    """

    __pydantic_config__ = _STRICT
    described: ClassVar[str] = "plan.md"
    """Where in ``docs/reference`` it is described."""

    model: Annotated[ZooModel | FactoryModel, ByField("zoo", "factory")]
    data: Annotated[NamedData | FactoryData, ByField("name", "factory")]
    array: Array
    chips: Annotated[LotFile | MadeChips, ByField("file", "rate")]
    constraint: Annotated[Drop | Accuracy, ByField("drop", "accuracy")]
    policies: tuple[OnePolicy, ...] = field(default_factory=lambda: (Cascade(),))
    analysis: Analysis = field(default_factory=Analysis)
    execution: Execution = field(default_factory=Execution)
    seed: int = 0
    margin: Margin | None = None

    def __post_init__(self) -> None:
        known = [p for p in self.policies if not isinstance(p, FactoryPolicy)]
        if known or not self.policies:
            check_policies(known)

    def files(self) -> list[Path]:
        """Files that the plan reads."""
        whose = (self.model, "weights"), (self.chips, "file"), (self.analysis.trial, "file")
        named = [getattr(table, name, None) for table, name in whose]
        return [path for path in named if path is not None]

    def task(self) -> Task:
        """Build the network and read the data."""
        return task_of(self.model, self.data, self.execution.device)

    def lot(self) -> Lot:
        """Read the chips or make them, with what is known of them."""
        if isinstance(self.chips, LotFile):
            return read_lot(self.chips.file)
        broken, screening = self._made(self.chips), self.chips.screening
        return broken if screening is None else screening.seen_of(broken, seed=self.chips.seed)

    def truth(self) -> Lot | None:
        """The same chips with what is broken indeed; none where that is what is known of them."""
        if isinstance(self.chips, LotFile) or self.chips.screening is None:
            return None
        return self._made(self.chips)

    def _made(self, chips: MadeChips) -> Lot:
        return make_chips(
            self.array,
            rate=chips.rate,
            count=chips.count,
            spatial=chips.spatial,
            seed=chips.seed,
            spread=chips.spread,
            stuck=chips.stuck,
            macs=chips.macs,
        )

    def deciders(self) -> tuple[Policy, ...]:
        """The policies, those of the user's built."""
        policies = tuple(
            made(p.factory, p.options, f"policies.{place}") if isinstance(p, FactoryPolicy) else p
            for place, p in enumerate(self.policies)
        )
        check_policies(policies)
        return policies


def task_of(model: ZooModel | FactoryModel, data: NamedData | FactoryData, device: str) -> Task:
    """Build a network and read its data.

    Args:
        model: The network.
        data: Its data.
        device: Where it is run.

    Raises:
        PlanError: What a factory of the user's gives is neither.
    """
    splits = _splits(data)
    return Task(
        _network(model),
        train=splits.train,
        validation=splits.validation,
        test=splits.test,
        device=device,
    )


def _network(model: ZooModel | FactoryModel) -> Any:
    if isinstance(model, ZooModel):
        return trained(model.zoo, width=model.width)
    network = made(model.factory, model.options, "model")
    if not isinstance(network, nn.Module):
        raise PlanError(
            f"model.factory: {model.factory!r} gave a {type(network).__name__}",
            hint="let it return a torch.nn.Module",
        )
    if model.weights is not None:
        read_weights_(network, model.weights)
    return network


def _splits(data: NamedData | FactoryData) -> Splits:
    if isinstance(data, NamedData):
        return DATA_SETS[data.name](data.path)
    found = made(data.factory, data.options, "data")
    if isinstance(found, Splits):
        return found
    if not isinstance(found, tuple | list) or len(found) != 3:
        raise PlanError(
            f"data.factory: {data.factory!r} gave a {type(found).__name__}",
            hint="let it return the training, validation and test split, as a tuple of three",
        )
    return Splits(*found)
