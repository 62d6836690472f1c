"""A policy of one's own beside two of chipmend's: more retraining for more faults, and a look."""

from typing import Any

import torch
from torch import nn

import chipmend as cm
from chipmend.policy import Action, Group, Scrap, Ship


class Proportional:
    """Two epochs where half of the weights are on faulty PEs, one where a quarter is."""

    name, analysis = "Proportional", lambda *_: None  # it needs no table

    def plan(self, dies: Any, *_: Any) -> list[Group]:
        """Every chip alone, with an amount of its own."""
        return [Group(chips=(die.chip.id,), epochs=4 * die.effective_rate) for die in dies]

    def next(self, group: Group, _: Any, seen: Any, *__: Any) -> Action:
        """Prune, retrain, look; then ship or scrap."""
        steps = (cm.Prune(), cm.Retrain(epochs=max(group.epochs, 0.1)), cm.Measure())
        if len(seen) < len(steps):
            return steps[len(seen)]
        return Ship() if seen[-1].measured.margin >= 0 else Scrap("misses on validation")


def bars(samples: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    _, (y, x) = torch.manual_seed(seed), torch.ones(8, 8).nonzero().T - 3.5
    drawn = torch.stack([x.abs() < 1, y.abs() < 1, (x - y).abs() < 1, (x + y).abs() < 1])
    kinds = torch.randint(4, (samples,))
    return (drawn[kinds] + 0.6 * torch.randn(samples, 64)).view(-1, 1, 8, 8), kinds


train, validation, test = bars(2000, 1), bars(1000, 2), bars(1000, 3)
network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
network.append(nn.Linear(8 * 36, 4))
optimizer = torch.optim.Adam(network.parameters(), 0.01)
for inputs, targets in zip(train[0].split(20), train[1].split(20), strict=True):
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(inputs), targets).backward()
    optimizer.step()
task = cm.Task(network, train=train, validation=validation, test=test)
array, three = cm.Array(rows=16, cols=16), [cm.Fixed(epochs=1), cm.UntilMet(), Proportional()]
chips = cm.make_chips(array, rate=(0.05, 0.5), count=4, spread="even")
outcome = cm.mend(task, chips, array=array, constraint=cm.Drop(0.03), policies=three, threads=1)
for chip in outcome.records:
    print(f"{chip.policy:13} {chip.chip} {chip.bin:9} {chip.accuracy} {chip.ee:.2f} EE")
