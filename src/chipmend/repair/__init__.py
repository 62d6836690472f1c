"""The repair steps, a file each, and the bench that carries recipes out."""

from chipmend.repair.cost import Cost
from chipmend.repair.prune import effective_rate, prune_, pruned_weights, weights_per_pe
from chipmend.repair.recalibrate import recalibrate_
from chipmend.repair.retrain import HeldAtZero, Retraining
from chipmend.repair.workbench import Workbench, merged

__all__ = [
    "Cost",
    "HeldAtZero",
    "Retraining",
    "Workbench",
    "effective_rate",
    "merged",
    "prune_",
    "pruned_weights",
    "recalibrate_",
    "weights_per_pe",
]
