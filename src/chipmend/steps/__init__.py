"""The repair actions as plain data: one declaration is Python API, plan table and stored record.

What an action does lives in ``repairs``, a file per step.
"""

from chipmend.steps.checks import LEAST_SAMPLES
from chipmend.steps.looks import Assess, KeepBetter, Measure
from chipmend.steps.patch import Patch
from chipmend.steps.quantize import (
    FAQ,
    Coded,
    CompensatedFAQ,
    LeastSquares,
    Naive,
    Percentile,
    Quantize,
    SequentialFAQ,
)
from chipmend.steps.repair import (
    ClosedForm,
    Compensate,
    Magnitude,
    Match,
    OneShot,
    Prune,
    Recalibrate,
    Reestimate,
    Remap,
    Sequential,
)
from chipmend.steps.retrain import MOST_EPOCHS, Anytime, Decaying, Distill, Labels, Retrain

Step = (
    Prune
    | Remap
    | Recalibrate
    | Compensate
    | Quantize
    | Retrain
    | KeepBetter
    | Patch
    | Assess
    | Measure
)
Form = (
    Match
    | Reestimate
    | OneShot
    | Sequential
    | Magnitude
    | ClosedForm
    | Anytime
    | Decaying
    | Labels
    | Distill
    | Naive
    | FAQ
    | CompensatedFAQ
    | SequentialFAQ
    | LeastSquares
    | Percentile
)
"""Choices within steps, told apart by their kinds as steps are."""
Recipe = tuple[Step, ...]
"""The ordered steps for one chip."""

__all__ = [
    "FAQ",
    "LEAST_SAMPLES",
    "MOST_EPOCHS",
    "Anytime",
    "Assess",
    "ClosedForm",
    "Coded",
    "Compensate",
    "CompensatedFAQ",
    "Decaying",
    "Distill",
    "Form",
    "KeepBetter",
    "Labels",
    "LeastSquares",
    "Magnitude",
    "Match",
    "Measure",
    "Naive",
    "OneShot",
    "Patch",
    "Percentile",
    "Prune",
    "Quantize",
    "Recalibrate",
    "Recipe",
    "Reestimate",
    "Remap",
    "Retrain",
    "Sequential",
    "SequentialFAQ",
    "Step",
]
