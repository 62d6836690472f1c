"""Grids: how real numbers become whole ones, and which grid fits."""

import logging

import pytest
import torch
from torch import nn

from chipmend.errors import NetworkError
from chipmend.network.integer.graph import tensors_of, traced
from chipmend.network.integer.grids import Grid, grids, least_squares, percentile


def found(model, inputs, choice=least_squares):
    graph = traced(model.eval(), inputs[:2])
    wanted = {graph.input, graph.output}
    held = {**tensors_of(model), **graph.constants}
    by_name = grids(graph, held, inputs.split(100), wanted, choice)
    return by_name[graph.input], by_name[graph.output]


def test_numbers_are_the_nearest_and_halves_go_up():
    values = torch.tensor([-70.0, -1.25, -0.75, -0.25, 0.0, 0.24, 0.25, 1.0, 63.4, 200.0])
    assert Grid(0.5, signed=True).numbers(values).tolist() == [
        -128, -2, -1, 0, 0, 0, 1, 2, 127, 127
    ]  # fmt: skip
    assert Grid(0.5, signed=False).numbers(values).tolist() == [0, 0, 0, 0, 0, 0, 1, 2, 127, 255]


def test_numbers_stand_for_values():
    grid = Grid(0.3, signed=True)
    numbers = torch.arange(-128.0, 128)
    assert torch.equal(grid.numbers(grid.values(numbers)), numbers)


def test_values_that_are_never_negative_have_no_sign():
    inputs = torch.rand(300, 4, generator=torch.Generator().manual_seed(0))
    taken, given = found(nn.Linear(4, 3), inputs)
    assert not taken.signed
    assert given.signed


def test_the_widest_grid_reaches_all_that_was_seen():
    inputs = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    inputs[250, 0] = -50.0
    (taken, _) = found(nn.Linear(4, 3), inputs, choice=percentile(1.0))
    assert taken.step == pytest.approx(50 / 127, rel=0.02)


def test_least_squares_beats_the_widest_and_its_neighbours():
    sample = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    sample[0] = 15.0
    widest = Grid(float(sample.abs().max()) / 127, signed=True)
    chosen = least_squares(sample, widest)

    def error(step):
        grid = Grid(step, signed=True)
        return float((grid.values(grid.numbers(sample)) - sample).square().mean())

    assert error(chosen.step) < 0.7 * error(widest.step)
    assert all(error(chosen.step) <= error(widest.step * s) for s in (0.1, 0.25, 0.5, 0.75))


def test_percentile_leaves_out_what_is_rare():
    sample = torch.cat([torch.linspace(0, 1, 999), torch.tensor([100.0])])
    grid = percentile(0.99)(sample, Grid(100 / 255, signed=False))
    assert grid.step == pytest.approx(0.99 / 255, rel=0.01)


def test_what_is_always_zero_is_told(caplog):
    model = nn.Sequential(nn.Linear(4, 3), nn.Threshold(1e9, 0))
    with caplog.at_level(logging.WARNING):
        _, given = found(model, torch.randn(20, 4))
    assert given.step == 1
    assert "1: no calibration input gives anything but zero" in caplog.text


def test_numbers_that_are_not_finite_are_told_with_their_place():
    model = nn.Sequential(nn.Linear(4, 3))
    model[0].weight.data[0, 0] = float("nan")
    with pytest.raises(NetworkError, match="0 gives something that is not a finite"):
        found(model, torch.randn(20, 4))
