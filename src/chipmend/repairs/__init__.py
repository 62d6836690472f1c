"""The repair steps, a file each, and the bench that carries recipes out."""

from chipmend.repairs.cost import Cost
from chipmend.repairs.prune import effective_rate, prune_, pruned_weights, weights_per_pe
from chipmend.repairs.recalibrate import reestimate_
from chipmend.repairs.retrain import HeldAtZero, Retraining
from chipmend.repairs.workbench import Workbench

__all__ = [
    "Cost",
    "HeldAtZero",
    "Retraining",
    "Workbench",
    "effective_rate",
    "prune_",
    "pruned_weights",
    "reestimate_",
    "weights_per_pe",
]
