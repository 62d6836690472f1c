"""The plan: everything that a run does, as the user wrote it in TOML."""

from chipmend.plan.reading import keep_plan, parse_plan, read_kept_plan, read_plan
from chipmend.plan.tables import Plan

__all__ = ["Plan", "keep_plan", "parse_plan", "read_kept_plan", "read_plan"]
