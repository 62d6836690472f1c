"""Norms and biases in the offsets of accumulators; whole stages are in test_network.py."""

import torch
from torch import nn

from chipmend.network.integer.ends import ACCUMULATOR, in_accumulators, normed
from chipmend.network.integer.stages import Norm


def test_offsets_are_whole_numbers_of_an_accumulator_of_either_sign():
    factor = torch.tensor([0.5, -0.25, 0.1]).double()
    found = in_accumulators(torch.tensor([1.3, 1.3, -0.04]).double(), factor)
    assert torch.equal(found, torch.tensor([1.5, 1.25, 0.0]).double())


def test_what_32_bits_cannot_hold_stays_as_it_is():
    factor = torch.tensor([1.0, 1.0, 0.0, 1e-12], dtype=torch.float64)
    offset = torch.tensor([ACCUMULATOR - 1.2, ACCUMULATOR + 0.3, 0.7, 3.3], dtype=torch.float64)
    found = in_accumulators(offset, factor)
    assert found.tolist() == [ACCUMULATOR - 1.0, ACCUMULATOR + 0.3, 0.7, 3.3]
    assert in_accumulators(torch.zeros(1).double(), torch.zeros(1).double()).tolist() == [0.0]


def test_a_norm_is_taken_into_factor_and_offset():
    module = nn.BatchNorm1d(3).double().eval()
    for tensor in (module.running_mean, module.weight.data, module.bias.data):
        tensor.normal_(generator=torch.Generator().manual_seed(0))
    module.running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(1))
    held = dict(module.state_dict())
    norm = Norm("running_mean", "running_var", "weight", "bias", module.eps)
    factor, bias = torch.tensor([0.5, 0.1, 2.0]).double(), torch.tensor([1.0, -2.0, 0.3]).double()
    found, offset = normed(norm, held, factor, bias)
    accumulator = torch.tensor([[3.0, -7.0, 11.0], [0.0, 1.0, -4.0]]).double()
    wanted = module(accumulator * factor + bias)
    assert torch.allclose(accumulator * found + offset, wanted)
    plain, alone = normed(None, held, factor, 0.0)
    assert torch.equal(plain, factor)
    assert alone.tolist() == [0, 0, 0]
