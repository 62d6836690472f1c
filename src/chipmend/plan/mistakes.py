"""Mistakes in a plan, in words: where in the file, what is wrong, what to write instead."""

import difflib
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, get_args

from chipmend.confidence.constraint import Accuracy, Drop
from chipmend.errors import ChipmendError
from chipmend.faults.generate import Clustered, Lines, Uniform
from chipmend.faults.macs_at import MacsAt
from chipmend.faults.screening import Margin, Screening
from chipmend.faults.stuck_at import Cells, StuckAt
from chipmend.hardware.array import Array
from chipmend.hardware.mac import Accumulators
from chipmend.hardware.memory import WeightMemory
from chipmend.plan.design import ErrorRates
from chipmend.plan.tables import (
    KIND,
    Execution,
    FactoryData,
    FactoryModel,
    FactoryPolicy,
    LotFile,
    MadeChips,
    NamedData,
    Plan,
    ZooModel,
)
from chipmend.policy.cascade import Cascade
from chipmend.policy.efat import EFat
from chipmend.policy.fixed import Fixed, FixedSteps
from chipmend.policy.looks import Looks
from chipmend.policy.reduce import Reduce
from chipmend.policy.until_met import UntilMet
from chipmend.protect.design.evaluation import Targets
from chipmend.protect.design.parameters import Space
from chipmend.protect.search.settings import Searching
from chipmend.resilience.analysis import Analysis
from chipmend.resilience.trial import TrialFile, TrialLot
from chipmend.steps import Form, Step

_RATES = (
    ["chips", "rate"],
    ["chips", "stuck", "rate"],
    ["analysis", "trial", "rate"],
    ["analysis", "trial", "stuck", "rate"],
)
"""Fields that hold a number, or the two ends of a range."""
_ABSENT = ("missing", "missing_keyword_only_argument")
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_EITHER = {
    "model.factory": "model: write zoo, or factory",
    "data.factory": "data: write name, or factory",
    "chips.rate": "chips: write file, or rate and count",
    "constraint.accuracy": "constraint: write drop, or accuracy",
    "analysis.until.accuracy": "analysis.until: write drop, or accuracy",
    "analysis.trial.rate": "analysis.trial: write file, or rate",
    "analysis.trial.until.accuracy": "analysis.trial.until: write drop, or accuracy",
}
"""What to write in a table that has none of the fields that tell its alternatives apart."""
_DECISIVE = frozenset(("zoo", "name", "file", "drop"))
"""Fields that decide on one of the alternatives."""
_SHAPES = {
    "tuple": "a list",
    "dataclass": "a table",
    "model_attributes": "a table",
    "dict": "a table",
    "string": "a text in quotes",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
}
"""What to write instead of something of another shape, by what pydantic calls the right one."""

_STEPS = (*get_args(Step), *get_args(Form))
_POLICIES = (FixedSteps, Fixed, UntilMet, Reduce, EFat, Cascade, Looks, FactoryPolicy, *_STEPS)
TABLES: Mapping[str, tuple[type, ...]] = {
    "model": (ZooModel, FactoryModel),
    "data": (NamedData, FactoryData),
    "array": (Array, WeightMemory, Accumulators),
    "chips": (
        *(LotFile, MadeChips, Uniform, Clustered, Lines, StuckAt, MacsAt, Screening),
        *get_args(Cells),
    ),
    "margin": (Margin,),
    "constraint": (Drop, Accuracy),
    "policy": _POLICIES,
    "policies": _POLICIES,
    "analysis": (
        *(Analysis, TrialFile, TrialLot, StuckAt, MacsAt, Drop, Accuracy),
        *(Uniform, Clustered, Lines),
        *(*get_args(Cells), *_STEPS),
    ),
    "execution": (Execution,),
    "errors": (ErrorRates,),
    "targets": (Targets,),
    "space": (Space,),
    "search": (Searching,),
}
"""What may stand in each table of a plan."""


def mistake(
    error: Mapping[str, Any],
    tables: Mapping[str, Any],
    written: Mapping[str, Any],
    plan: type = Plan,
) -> str:
    """Put one of pydantic's findings into words.

    Args:
        error: The finding.
        tables: The plan as it was validated.
        written: The plan as it stands in the file.
        plan: What kind of plan it is.

    Returns:
        A line: where, what is wrong, what to write instead.
    """
    place = within = list(_place(error["loc"], error["type"] in _ABSENT, tables))
    if place[:1] == ["policies"] and "policies" not in written:
        place = ["policy", *place[1 if isinstance(written["policy"], list) else 2 :]]
    name = ".".join(map(str, place)) or "the plan"
    for rate in _RATES:
        given = functools.reduce(_part_of, rate, tables)
        if place[: len(rate)] == rate and given != {} and error["type"] not in _UNKNOWN:
            # either shape: pydantic tells what is wrong with each
            return f"{'.'.join(rate)}: write a number, or a list of two, not {given!r}"
    kind, cause = error["type"], error.get("ctx", {}).get("error")
    if place == ["policy"] and "policies" in written:
        return "policy: stands beside policies; write [policy] or [[policies]]"
    if kind in _UNKNOWN:
        known = _known_fields(place, plan)
        if place[-1] in known:
            return f"{name}: {_not_beside(within, tables)}"
        near = difflib.get_close_matches(str(place[-1]), known, n=1)
        return f"{name}: unknown" + (f"; did you mean {near[0]!r}?" if near else "")
    if kind in _ABSENT and name == "chips.count" and "rate" not in tables["chips"]:
        return _EITHER["chips.rate"]
    if kind in _ABSENT:
        return _EITHER.get(name, f"{name}: missing")
    if kind == "union_tag_not_found" or (kind == "union_tag_invalid" and not error["ctx"]["tag"]):
        return f"{name}.kind: missing"
    if kind == "union_tag_invalid":
        tags = error["ctx"]["expected_tags"].replace(KIND, "")
        tag = error["ctx"]["tag"].removeprefix(KIND)
        return f"{name}.kind: {tag!r} is unknown; write {tags}"
    if isinstance(cause, ChipmendError):
        return f"{name}: {cause.message}" + (f" ({cause.hint})" if cause.hint else "")
    if kind == "literal_error":
        return f"{name}: write {error['ctx']['expected']}, not {error['input']!r}"
    if (shape := re.sub("_(type|parsing|from_float)$", "", kind)) in _SHAPES:
        return f"{name}: write {_SHAPES[shape]}, not {error['input']!r}"
    return f"{name}: {error['msg']}, not {error['input']!r}"


def _place(location: Sequence[str | int], absent: bool, tables: Any) -> Iterator[str | int]:
    """The path in the file: pydantic's, without the names of alternatives."""
    for number, part in enumerate(location, 1):
        keys = range(len(tables)) if isinstance(tables, list | tuple) else tables
        if isinstance(keys, range | Mapping) and part in keys:
            tables = tables[part]  # pyright: ignore[reportArgumentType, reportCallIssue]
            yield part
        elif absent and number == len(location):
            yield part


def _known_fields(place: Sequence[str | int], plan: type) -> set[str]:
    """Fields that may have been meant: those of the table, or the tables themselves."""
    if len(place) == 1:
        return {f.name for f in fields(plan)} | ({"policy"} if plan is Plan else set())
    return {f.name for kind in TABLES[str(place[0])] for f in fields(kind) if f.init}


def _not_beside(place: Sequence[str | int], tables: Any) -> str:
    """Why a field that is known elsewhere does not stand in its table."""
    for part in place[:-1]:
        tables = tables[part]
    kind, field = tables.get("kind"), str(place[-1])
    if kind is None:
        others = [name for name in tables if name in _DECISIVE] or tables.keys() - {field}
        return f"does not go together with {' and '.join(sorted(others))}"
    owners = [
        str(f.default)
        for owner in TABLES[str(place[0])]
        if field in {f.name for f in fields(owner)}
        for f in fields(owner)
        if f.name == "kind"
    ]
    having = f"; {' and '.join(owners)} have" if owners else ""
    return f"there is none where kind is {kind!r}{having}"


def _part_of(table: Any, name: str) -> Any:
    """A field of a table; an empty table where there is none, or no table."""
    return table.get(name, {}) if isinstance(table, dict) else {}
