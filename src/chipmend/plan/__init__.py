"""The plan: everything that a run does, as the user wrote it in TOML."""

from chipmend.plan.reading import parse_plan, read_plan
from chipmend.plan.tables import Plan

__all__ = ["Plan", "parse_plan", "read_plan"]
