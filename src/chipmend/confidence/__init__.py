"""The statistics that decisions rest on."""

from chipmend.confidence.constraint import (
    Accuracy,
    Constraint,
    Drop,
    check_reachable,
    holds,
    measured,
)
from chipmend.confidence.coverage import Kept, cheapest, chips_needed, keeps, share_interval
from chipmend.confidence.intervals import Measured
from chipmend.confidence.sequential import alpha_of_look

__all__ = [
    "Accuracy",
    "Constraint",
    "Drop",
    "Kept",
    "Measured",
    "alpha_of_look",
    "cheapest",
    "check_reachable",
    "chips_needed",
    "holds",
    "keeps",
    "measured",
    "share_interval",
]
