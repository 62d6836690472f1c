"""Campaigns over whole lots: jobs, executors, the store, the ledger."""

from chipmend.fleet.api import analyze, mend
from chipmend.fleet.campaign import Campaign
from chipmend.fleet.ledger import Bin, ChipRecord, PathPoint, PolicySum
from chipmend.fleet.outcome import Outcome, read_outcome
from chipmend.fleet.setup import Setup

__all__ = [
    "Bin",
    "Campaign",
    "ChipRecord",
    "Outcome",
    "PathPoint",
    "PolicySum",
    "Setup",
    "analyze",
    "mend",
    "read_outcome",
]
