"""The plan: everything that a run does, as the user wrote it in TOML.

Reading collects all mistakes and states each with its place in the file and what to write instead.
"""

import difflib
import importlib
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter, ValidationError
from torch import nn

from chipmend.confidence.constraint import Accuracy, Drop
from chipmend.data import DATA_SETS, Splits
from chipmend.errors import ChipmendError, PlanError
from chipmend.faults.generate import Clustered, Lines, Spatial, Uniform, make_chips
from chipmend.faults.lot_file import read_lot
from chipmend.faults.lots import Lot
from chipmend.hardware.array import Array
from chipmend.network.task import Task
from chipmend.policy.fixed import Fixed, FixedSteps
from chipmend.policy.protocol import Policy
from chipmend.policy.reduce import Reduce
from chipmend.policy.until_met import UntilMet
from chipmend.resilience.analysis import Analysis
from chipmend.steps import Anytime, Decaying, Measure, Prune, Recalibrate, Retrain
from chipmend.zoo import read_weights_, trained_vgg11

_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooModel:
    """A reference network with the weights that chipmend ships.

    Args:
        zoo: Its name.
        width: Factor on the number of channels.
    """

    __pydantic_config__ = _STRICT

    zoo: Literal["vgg11"]
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
        name: ``fashion-mnist`` or ``cifar-10``.
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
        seed: The seed.
    """

    __pydantic_config__ = _STRICT

    rate: float | tuple[float, float]
    count: int
    spatial: Annotated[Spatial, Field(discriminator="kind")] = field(default_factory=Uniform)
    spread: Literal["drawn", "even"] = "drawn"
    seed: int = 0


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


def _with(key: str, other: str) -> Discriminator:
    """Tell two tables apart by whether they have a key; no field has a name as the tags have."""

    def which(table: Any) -> str:
        found = key in table if isinstance(table, Mapping) else hasattr(table, key)
        return f"with {key if found else other}"

    return Discriminator(which)


_KIND = "kind "


def _policy_kind(table: Any) -> str:
    if not isinstance(table, Mapping) or "factory" in table:
        return _KIND + "factory"
    return _KIND + str(table["kind"]) if "kind" in table else ""


OnePolicy = Annotated[
    Annotated[FixedSteps, Tag(_KIND + "steps")]
    | Annotated[Fixed, Tag(_KIND + "fixed")]
    | Annotated[UntilMet, Tag(_KIND + "until_met")]
    | Annotated[Reduce, Tag(_KIND + "reduce")]
    | Annotated[FactoryPolicy, Tag(_KIND + "factory")],
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
    """

    __pydantic_config__ = _STRICT

    model: Annotated[
        Annotated[ZooModel, Tag("with zoo")] | Annotated[FactoryModel, Tag("with factory")],
        _with("zoo", "factory"),
    ]
    data: Annotated[
        Annotated[NamedData, Tag("with name")] | Annotated[FactoryData, Tag("with factory")],
        _with("name", "factory"),
    ]
    array: Array
    chips: Annotated[
        Annotated[LotFile, Tag("with file")] | Annotated[MadeChips, Tag("with rate")],
        _with("file", "rate"),
    ]
    constraint: Annotated[
        Annotated[Drop, Tag("with drop")] | Annotated[Accuracy, Tag("with accuracy")],
        _with("drop", "accuracy"),
    ]
    policies: tuple[OnePolicy, ...] = field(default_factory=lambda: (Reduce(),))
    analysis: Analysis = field(default_factory=Analysis)
    execution: Execution = field(default_factory=Execution)
    seed: int = 0

    def task(self) -> Task:
        """Build the network and read the data."""
        splits = self._splits()
        return Task(
            self._network(),
            train=splits.train,
            validation=splits.validation,
            test=splits.test,
            device=self.execution.device,
        )

    def lot(self) -> Lot:
        """Read or make the chips."""
        if isinstance(self.chips, LotFile):
            return read_lot(self.chips.file)
        return make_chips(
            self.array,
            rate=self.chips.rate,
            count=self.chips.count,
            spatial=self.chips.spatial,
            seed=self.chips.seed,
            spread=self.chips.spread,
        )

    def deciders(self) -> tuple[Policy, ...]:
        """The policies, those of the user's built."""
        return tuple(
            made(p.factory, p.options, "policy") if isinstance(p, FactoryPolicy) else p
            for p in self.policies
        )

    def _network(self) -> Any:
        if isinstance(self.model, FactoryModel):
            network = made(self.model.factory, self.model.options, "model")
            if not isinstance(network, nn.Module):
                raise PlanError(
                    f"model.factory: {self.model.factory!r} gave a {type(network).__name__}",
                    hint="let it return a torch.nn.Module",
                )
            if self.model.weights is not None:
                read_weights_(network, self.model.weights)
            return network
        return trained_vgg11(width=self.model.width)

    def _splits(self) -> Splits:
        if isinstance(self.data, NamedData):
            return DATA_SETS[self.data.name](self.data.path)
        found = made(self.data.factory, self.data.options, "data")
        if isinstance(found, Splits):
            return found
        if not isinstance(found, tuple | list) or len(found) != 3:
            raise PlanError(
                f"data.factory: {self.data.factory!r} gave a {type(found).__name__}",
                hint="let it return the training, validation and test split, as a tuple of three",
            )
        return Splits(*found)


def read_plan(path: Path) -> tuple[Plan, dict[str, Any]]:
    """Read a plan; paths in it are taken from the plan's folder.

    Args:
        path: A TOML file.

    Returns:
        The plan, and the tables as written, for the report.

    Raises:
        PlanError: Not to be read, or every mistake in it.
    """
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(
            f"cannot read {path}: {error}", hint="give the path of a plan in TOML"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{path} is not TOML: {error}", hint="mend that line") from error
    return parse_plan(tables, str(path), path.parent), tables


def parse_plan(tables: Mapping[str, Any], where: str, folder: Path = Path()) -> Plan:
    """Make a plan of tables as TOML gives them.

    Args:
        tables: The tables; ``[policy]`` stands for a list of one.
        where: The file's name, for errors.
        folder: What relative paths are relative to.

    Raises:
        PlanError: Every mistake, with its place and what to write instead.
    """
    whole = dict(tables)
    if "policy" in whole and "policies" not in whole:
        alone = whole.pop("policy")
        whole["policies"] = alone if isinstance(alone, list) else [alone]
    try:
        plan = TypeAdapter(Plan).validate_python(_from(folder, whole))
    except ValidationError as error:
        mistakes = [_mistake(dict(e), whole, tables) for e in error.errors()]
        raise PlanError(
            "\n  ".join([f"{where} has {len(mistakes)} mistake(s):", *mistakes]),
            hint="every table and field is described in docs/reference/plan.md",
        ) from error
    return plan


def made(factory: str, options: Mapping[str, Any], place: str) -> Any:
    """Call what ``package.module:function`` says.

    Raises:
        PlanError: There is no such thing, or it raised.
    """
    function = _imported(factory, place)
    try:
        return function(**options)
    except ChipmendError:
        raise
    except Exception as error:
        raise PlanError(
            f"{place}.factory: {factory!r} raised {type(error).__name__}: {error}",
            hint=f"check it, and {place}.options, which are its keyword arguments",
        ) from error


def _imported(name: str, place: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever the user's module does when it is imported
        raise PlanError(
            f"{place}.factory: cannot import {name!r}: {type(error).__name__}: {error}",
            hint="write package.module:function, importable from where you are (PYTHONPATH)",
        ) from error


_PATHS = (("model", "weights"), ("data", "path"), ("chips", "file"), ("execution", "run"))


def _from(folder: Path, tables: dict[str, Any]) -> dict[str, Any]:
    """Take relative paths from the plan's folder."""
    for table, key in _PATHS:
        found = tables.get(table)
        if isinstance(found, dict) and isinstance(found.get(key), str):
            tables[table] = {**found, key: folder / found[key]}
    return tables


def _mistake(
    error: Mapping[str, Any], tables: Mapping[str, Any], written: Mapping[str, Any]
) -> str:
    place = list(_place(error["loc"], error["type"] in _ABSENT, tables))
    if place[:1] == ["policies"] and "policies" not in written:
        place = ["policy", *place[1 if isinstance(written["policy"], list) else 2 :]]
    name = ".".join(map(str, place)) or "the plan"
    kind, cause = error["type"], error.get("ctx", {}).get("error")
    if place == ["policy"] and "policies" in written:
        return "policy: stands beside policies; write [policy] or [[policies]]"
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _known_fields(place)
        if place[-1] in known:
            return f"{name}: does not go together with the other fields there"
        near = difflib.get_close_matches(str(place[-1]), known, n=1)
        return f"{name}: unknown" + (f"; did you mean {near[0]!r}?" if near else "")
    if kind in _ABSENT:
        return f"{name}: missing"
    if kind == "union_tag_not_found" or (kind == "union_tag_invalid" and not error["ctx"]["tag"]):
        return f"{name}.kind: missing"
    if kind == "union_tag_invalid":
        tags = error["ctx"]["expected_tags"].replace(_KIND, "")
        tag = error["ctx"]["tag"].removeprefix(_KIND)
        return f"{name}.kind: {tag!r} is unknown; write {tags}"
    if isinstance(cause, ChipmendError):
        return f"{name}: {cause.message}" + (f" ({cause.hint})" if cause.hint else "")
    if kind in _SHAPES:
        return f"{name}: write {_SHAPES[kind]}, not {error['input']!r}"
    return f"{name}: {error['msg']}, not {error['input']!r}"


_ABSENT = ("missing", "missing_keyword_only_argument")
_SHAPES = {
    "tuple_type": "a list",
    "dataclass_type": "a table",
    "model_attributes_type": "a table",
    "path_type": "a path in quotes",
    "string_type": "a text in quotes",
}
"""What to write instead of something of another shape, by pydantic's name of the mistake."""


def _place(location: Sequence[str | int], absent: bool, tables: Any) -> Iterator[str | int]:
    """The path in the file: pydantic's, without the names of alternatives."""
    for number, part in enumerate(location, 1):
        keys = range(len(tables)) if isinstance(tables, list | tuple) else tables
        if isinstance(keys, range | Mapping) and part in keys:
            tables = tables[part]  # pyright: ignore[reportArgumentType, reportCallIssue]
            yield part
        elif absent and number == len(location):
            yield part


_RETRAINS = (Retrain, Anytime, Decaying, Recalibrate)
_POLICIES = (FixedSteps, Fixed, UntilMet, Reduce, FactoryPolicy, Prune, Measure, *_RETRAINS)
_TABLES: Mapping[str, tuple[type, ...]] = {
    "model": (ZooModel, FactoryModel),
    "data": (NamedData, FactoryData),
    "array": (Array,),
    "chips": (LotFile, MadeChips, Uniform, Clustered, Lines),
    "constraint": (Drop, Accuracy),
    "policy": _POLICIES,
    "policies": _POLICIES,
    "analysis": (Analysis, Uniform, Clustered, Lines, *_RETRAINS),
    "execution": (Execution,),
}


def _known_fields(place: Sequence[str | int]) -> set[str]:
    """Fields that may have been meant: those of the table, or the tables themselves."""
    if len(place) == 1:
        return {f.name for f in fields(Plan)} | {"policy"}
    return {f.name for kind in _TABLES[str(place[0])] for f in fields(kind)}
