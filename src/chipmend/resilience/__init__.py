"""How accuracy answers to faults and to retraining."""

from chipmend.resilience.analysis import Analysis, trajectory
from chipmend.resilience.ladder import Ladder
from chipmend.resilience.table import UNREACHABLE, ResilienceTable, Rung, Trajectory
from chipmend.resilience.trial import TrialFile, TrialLot

__all__ = [
    "UNREACHABLE",
    "Analysis",
    "Ladder",
    "ResilienceTable",
    "Rung",
    "Trajectory",
    "TrialFile",
    "TrialLot",
    "trajectory",
]
