"""Hardening: train a network on, once for all chips, so that it stands losses nobody knows of.

What a tester missed is lost on the chip and made up for by nobody. A network that has learnt to do
without some of its weights, now these and then those, loses little by it (as with dropout of
connections [Wan2013]); repair of what is known then begins from there.

References:
    [Wan2013] Wan, Zeiler, Zhang, LeCun, Fergus, "Regularization of neural networks using
        DropConnect", ICML 2013.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from chipmend.network.gemm import gemms
from chipmend.network.task import Task
from chipmend.repairs.cost import Cost, ee_of_an_epoch, forward_pass
from chipmend.repairs.distill import lessons
from chipmend.repairs.recalibrate import reestimate_
from chipmend.repairs.retrain import Retraining
from chipmend.seeds import chip_seed
from chipmend.steps import Decaying, Distill, Retrain

TRAINED = Retrain(weight_decay=1e-4, schedule=Decaying(), teacher=Distill(temperature=4.0))
"""How a network is hardened, but for the amount. With labels for a teacher, or always the same
share lost, it stands losses less well (docs/architecture.md)."""
LOST = 0.03
"""Share of the weights that steps lose, the mean: more than what is missed of most chips."""


def hardened(
    task: Task, epochs: float, *, seed: int, tick: Callable[[float], object] = lambda _: None
) -> tuple[nn.Module, Cost]:
    """Harden the network of a task.

    Args:
        task: The network and its data.
        epochs: Passes over the training split.
        seed: The seed of the run.
        tick: Called now and then with the epoch-equivalents worked so far.

    Returns:
        A network of the same layers, and what it cost but for the seconds.

    Raises:
        RepairError: Training diverged, or every parameter of the network is frozen.
    """
    settings = replace(TRAINED, epochs=epochs)
    train, loss = lessons(task, settings.teacher)
    network, per_epoch = task.fresh_network(), ee_of_an_epoch(settings)
    training = Retraining(
        network,
        {g.name: torch.zeros_like(g.weight, dtype=torch.bool) for g in gemms(network)},
        train,
        loss=loss,
        settings=settings,
        seed=chip_seed(seed, "", "hardening"),
        losing=LOST,
    )
    training.advance(epochs, lambda done: tick(done * per_epoch))
    found = training.network()
    form = settings.recalibrate
    used = reestimate_(found, task.train, task.estimation(form.samples, seed))
    trained = training.epochs * per_epoch
    return found, Cost(retrain=trained, recalibrate=forward_pass(used, task))
