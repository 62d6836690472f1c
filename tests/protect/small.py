"""A small network in integers with a norm, a maximum over places, a branch, and samples for it."""

import torch
from torch import nn
from torch.nn import functional

from chipmend.hardware import Accumulators, Array
from exported import in_integers

ARRAY = Array(rows=4, cols=3, accumulators=Accumulators(bits=22))


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5)
        self.second = nn.Conv2d(5, 5, 3, padding=1)
        self.along, self.last = nn.Linear(4, 6), nn.Linear(30, 4)

    def forward(self, x):
        x = functional.max_pool2d(self.norm(self.first(x)).relu(), 3, 2, 1)
        x = self.second(x) + x
        return self.last(self.along(x.flatten(2)[:, :, :4]).relu().flatten(1))


def samples(count, seed):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(4, (count,), generator=generator)
    return torch.randn(count, 2, 4, 4, generator=generator) + 0.3 * targets[
        :, None, None, None
    ], targets


def network():
    torch.manual_seed(0)
    model = Small().eval()
    with torch.no_grad():
        model.norm.running_mean.normal_(0, 0.3)
        model.norm.running_var.uniform_(0.5, 2)
    return in_integers(model, samples(200, 0)[0])
