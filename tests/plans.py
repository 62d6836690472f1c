"""Plans that several tests begin with."""

import copy

import pytest

from chipmend.errors import PlanError
from chipmend.plan import parse_plan

WHOLE = {
    "model": {"zoo": "vgg11"},
    "data": {"name": "fashion-mnist"},
    "array": {"rows": 8, "cols": 8},
    "chips": {"rate": 0.1, "count": 2},
    "constraint": {"drop": 0.02},
}


def plan(**changes):
    return parse_plan(copy.deepcopy(WHOLE) | changes, "p.toml")


def mistakes(tables):
    """Every mistake that is stated, without the first line and the hint."""
    with pytest.raises(PlanError) as error:
        parse_plan(tables, "p.toml")
    first, *rest = error.value.message.splitlines()
    assert first == f"p.toml has {len(rest)} mistake(s):"
    assert "docs/reference/plan.md" in error.value.hint
    return [line.strip() for line in rest]
