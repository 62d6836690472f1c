"""The plan: everything that a run does, as the user wrote it in TOML."""

from chipmend.plan.design import DesignPlan
from chipmend.plan.reading import (
    keep_plan,
    parse_plan,
    read_design_plan,
    read_kept_plan,
    read_plan,
)
from chipmend.plan.tables import Plan

__all__ = [
    "DesignPlan",
    "Plan",
    "keep_plan",
    "parse_plan",
    "read_design_plan",
    "read_kept_plan",
    "read_plan",
]
