"""How accuracy answers to faults and to retraining."""

from chipmend.resilience.analysis import Analysis, trajectory
from chipmend.resilience.table import UNREACHABLE, ResilienceTable, Trajectory

__all__ = ["UNREACHABLE", "Analysis", "ResilienceTable", "Trajectory", "trajectory"]
