"""What units beside the array make of whole numbers, against exact fractions and PyTorch."""

from fractions import Fraction
from math import isqrt

import pytest
import torch
from torch import nn
from torch.nn import functional

from chipmend.network.integer.functions import layer_norm, looked_up, softmax, table
from chipmend.network.integer.graph import traced
from chipmend.network.integer.grids import Grid

SIGNED, UNSIGNED = Grid(0.05, signed=True), Grid(0.03, signed=False)


def numbers(grid, *sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(grid.least, grid.most + 1, sizes, generator=generator).to(grid.dtype)


def edges(grid):
    return grid.least, grid.most


@pytest.mark.parametrize("taken", [SIGNED, UNSIGNED])
@pytest.mark.parametrize("given", [SIGNED, UNSIGNED])
@pytest.mark.parametrize("function", [functional.gelu, functional.silu, torch.tanh])
def test_a_table_holds_the_nearest_number_of_each(taken, given, function):
    class Model(nn.Module):
        def forward(self, x):
            return function(x)

    (operation,) = traced(Model(), torch.randn(2, 3)).operations
    entries = table(operation, taken, given, edges(given))
    asked = torch.arange(taken.least, taken.most + 1).to(taken.dtype)
    expected = given.numbers(function(taken.values(asked.double())))
    assert torch.equal(looked_up(asked, entries), expected)
    shuffled = numbers(taken, 4, 5)
    assert torch.equal(
        looked_up(shuffled, entries), given.numbers(function(taken.values(shuffled.double())))
    )


def test_edges_bound_a_table():
    class Model(nn.Module):
        def forward(self, x):
            return torch.tanh(x)

    (operation,) = traced(Model(), torch.randn(2, 3)).operations
    entries = table(operation, SIGNED, Grid(0.01, signed=True), (0, 50))
    assert (int(entries.min()), int(entries.max())) == (0, 50)


@pytest.mark.parametrize("taken", [SIGNED, UNSIGNED, Grid(3.0, signed=True)])
def test_shares_are_those_of_whole_exponentials(taken):
    given = Grid(1 / 200, signed=False)
    asked = numbers(taken, 6, 9)
    found = softmax(asked, taken, given, edges(given))
    for row, shares in zip(asked.tolist(), found.tolist(), strict=True):
        rounded = [
            int(torch.tensor((n - max(row)) * taken.step).double().exp() * 2**20 + 0.5) for n in row
        ]
        for each, share in zip(rounded, shares, strict=True):
            exact = Fraction(each, sum(rounded)) * 200 + Fraction(1, 2)
            assert abs(share - exact + Fraction(1, 2)) <= Fraction(1, 2) + Fraction(1, 10**9)
    real = taken.values(asked.double()).softmax(-1)
    assert (given.values(found) - real).abs().max() <= 0.51 / 200


def test_a_share_of_one_fits_and_shares_of_many_vanish():
    given = Grid(1 / 255, signed=False)
    one = torch.tensor([[127, -128]], dtype=torch.int8)
    assert softmax(one, Grid(1.0, signed=True), given, edges(given)).tolist() == [[255, 0]]
    alike = torch.zeros(1, 1000, dtype=torch.int8)
    assert not softmax(alike, Grid(1.0, signed=True), given, edges(given)).any()


@pytest.mark.parametrize("taken", [SIGNED, UNSIGNED])
@pytest.mark.parametrize("axes", [1, 2])
def test_a_norm_is_that_of_exact_whole_numbers(taken, axes):
    given = Grid(0.02, signed=True)
    asked = numbers(taken, 5, 3, 7)
    found = layer_norm(
        asked, taken, given, edges(given), axes=axes, epsilon=1e-5, weight=None, bias=None
    )
    rows = zip(asked.flatten(-axes).tolist(), found.flatten(-axes).tolist(), strict=True)
    if axes == 1:
        rows = [
            pair
            for some in zip(asked.tolist(), found.tolist(), strict=True)
            for pair in zip(*some, strict=True)
        ]
    for row, given_out in rows:
        count, total = len(row), sum(row)
        variance = count * sum(q * q for q in row) - total**2
        epsilon = Fraction(1e-5) / Fraction(taken.step) ** 2 * count**2
        scaled = 10**24 * (variance + epsilon)
        spread = Fraction(isqrt(int(scaled)), 10**12)
        for q, number in zip(row, given_out, strict=True):
            exact = (count * q - total) / spread / Fraction(given.step)
            wanted = min(max(exact, given.least), given.most)
            assert abs(number - wanted) <= Fraction(1, 2) + Fraction(1, 10**8)


def test_a_norm_does_what_pytorchs_does():
    given, norm = Grid(0.02, signed=True), nn.LayerNorm(7)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    asked = numbers(SIGNED, 5, 3, 7)
    found = layer_norm(
        asked,
        SIGNED,
        given,
        edges(given),
        axes=1,
        epsilon=norm.eps,
        weight=norm.weight.detach(),
        bias=norm.bias.detach(),
    )
    real = norm(SIGNED.values(asked)).detach().clamp(given.least * 0.02, given.most * 0.02)
    assert (given.values(found) - real).abs().max() <= 0.0101


def test_numbers_that_are_all_alike_have_a_norm_of_nothing():
    alike = torch.full((2, 4), 9, dtype=torch.int8)
    found = layer_norm(
        alike, SIGNED, SIGNED, edges(SIGNED), axes=1, epsilon=1e-5, weight=None, bias=None
    )
    assert not found.any()
