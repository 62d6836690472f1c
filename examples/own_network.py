"""A network and a data set of one's own: noisy pictures of a disc, a square, a cross or a frame."""

import torch
from torch import nn

import chipmend as cm


def pictures(samples: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    _, (y, x) = torch.manual_seed(seed), (torch.ones(10, 10).nonzero().T - 4.5).abs()
    box, bar = torch.maximum(x, y) < 4, torch.minimum(x, y) < 1.5
    shapes = torch.stack([x**2 + y**2 < 18, box, bar, box & (torch.maximum(x, y) > 2)])
    kinds = torch.randint(4, (samples,))
    return (shapes[kinds] + 0.7 * torch.randn(samples, 100)).view(-1, 1, 10, 10), kinds


train, validation, test = pictures(2000, 1), pictures(1000, 2), pictures(1000, 3)
layers = [nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU()]
network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(72, 4))
optimizer = torch.optim.Adam(network.parameters(), 0.01)
for inputs, targets in zip(train[0].split(20), train[1].split(20), strict=True):
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(inputs), targets).backward()
    optimizer.step()
task = cm.Task(network, train=train, validation=validation, test=test)
array, met = cm.Array(rows=16, cols=16), cm.UntilMet(increment=0.25, most=2.0)
chips = cm.make_chips(array, rate=(0.05, 0.5), count=4, spread="even")
outcome = cm.mend(task, chips, array=array, constraint=cm.Drop(0.05), policies=[met], threads=1)
print("\n".join(f"{r.chip}: {r.bin}, accuracy {r.accuracy}" for r in outcome.records))
