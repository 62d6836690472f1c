"""A small network with attention, a chip for it, and what is lost there, element by element."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from chipmend.faults import FaultMap
from chipmend.hardware import Accumulators, Array
from chipmend.network import Task
from chipmend.network.dynamic import DynamicProducts

ARRAY = Array(rows=6, cols=5, accumulators=Accumulators(bits=24))


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.take_in, self.qkv, self.proj = nn.Linear(5, 8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.norm, self.last = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.take_in(x)
        q, k, v = self.qkv(x).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4).unbind(0)
        seen = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.last(self.norm(x + self.proj(seen)).mean(1))


def network():
    torch.manual_seed(0)
    model = Attending()
    with torch.no_grad():
        model.qkv.weight *= 2
    return model


def split(samples, seed):
    inputs = torch.randn(samples, 7, 5, generator=torch.Generator().manual_seed(seed))
    return inputs, inputs.mean(1)[:, :3].argmax(1)


def task():
    return Task(network(), train=split(160, 0), validation=split(50, 1), test=split(50, 2))


def faults(**more):
    pes = np.random.default_rng(0).random((6, 5)) < 0.2
    return FaultMap(rows=6, cols=5, **{"faulty_pes": pes, **more})


INPUTS = split(40, 3)[0]


def losing(model, inputs, pes=None):
    """A forward pass in which right operands lose what lies on faulty PEs, element by element."""
    pes = faults().unusable if pes is None else pes

    def meet(left, right):
        kept = torch.ones(right.shape[-2:])
        for k in range(right.shape[-2]):
            for n in range(right.shape[-1]):
                kept[k, n] = not pes[k % 6, n % 5]
        return right * kept

    with DynamicProducts(model, meet), torch.no_grad():
        return model(inputs)
