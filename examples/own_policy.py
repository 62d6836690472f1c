"""A policy of one's own beside two that chipmend has: skip what surely needs no training.

It trains once, by an amount that grows with the chip's fault rate, looks, and scraps what misses.
"""

import torch
from torch import nn

import chipmend as cm
from chipmend.policy import Group, Scrap, Ship


class Proportional:
    name, needs_table = "Proportional", False

    def plan(self, dies, constraint, table):
        return [Group(chips=(die.chip.id,), epochs=4 * die.effective_rate) for die in dies]

    def next(self, group, constraint, seen):
        steps = [cm.Prune(), cm.Retrain(epochs=max(group.epochs, 0.1)), cm.Measure()]
        if len(seen) < len(steps):
            return steps[len(seen)]
        met = seen[-1].measured.margin >= 0
        return Ship() if met else Scrap(f"misses by {-100 * seen[-1].measured.margin:.1f} points")


def bars(samples: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy 8 x 8 pictures of a bar in one of four directions."""
    torch.manual_seed(seed)
    y, x = torch.ones(8, 8).nonzero().T - 3.5
    drawn = torch.stack([x.abs() < 1, y.abs() < 1, (x - y).abs() < 1, (x + y).abs() < 1])
    kinds = torch.randint(4, (samples,))
    return (drawn[kinds] + 0.6 * torch.randn(samples, 64)).view(-1, 1, 8, 8), kinds


data = {"train": bars(2000, 1), "validation": bars(1000, 2), "test": bars(1000, 3)}
network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3))
network.extend([nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 4)])
optimizer = torch.optim.Adam(network.parameters(), 0.01)
for inputs, targets in zip(*(part.split(20) for part in data["train"]), strict=True):
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(inputs), targets).backward()
    optimizer.step()
array, policies = cm.Array(rows=16, cols=16), [cm.Fixed(epochs=1), cm.UntilMet(), Proportional()]
chips = cm.make_chips(array, rate=(0.05, 0.5), count=4, spread="even")
task, bound = cm.Task(network, **data), cm.Drop(0.04)
for chip in cm.mend(task, chips, array=array, constraint=bound, policies=policies).records:
    print(f"{chip.policy:13} {chip.chip} {chip.bin:9} {chip.accuracy} {chip.ee:.2f} EE")
