"""Campaigns over whole lots: jobs, executors, the store, the ledger."""

from chipmend.fleet.campaign import Campaign, Setup
from chipmend.fleet.ledger import Bin, ChipRecord, PathPoint, PolicySum
from chipmend.fleet.mend import analyze, mend
from chipmend.fleet.outcome import Outcome, read_outcome
from chipmend.fleet.plan import Plan, parse_plan, read_plan

__all__ = [
    "Bin",
    "Campaign",
    "ChipRecord",
    "Outcome",
    "PathPoint",
    "Plan",
    "PolicySum",
    "Setup",
    "analyze",
    "mend",
    "parse_plan",
    "read_outcome",
    "read_plan",
]
