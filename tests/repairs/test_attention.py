"""Networks with attention on the bench: what their products of activations lose stays lost."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from chipmend.faults import FaultMap, StuckMacs
from chipmend.hardware import Accumulators, Array
from chipmend.network import Task
from chipmend.network.dynamic import DynamicProducts
from chipmend.repairs import Workbench, prune_, pruned_weights
from chipmend.steps import (
    FAQ,
    Compensate,
    CompensatedFAQ,
    OneShot,
    Prune,
    Quantize,
    Recalibrate,
    Remap,
    Retrain,
    Sequential,
)

ARRAY = Array(rows=6, cols=5, accumulators=Accumulators(bits=24))
CODES = Quantize(form=FAQ(), samples=64)


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


def bench(**more):
    return Workbench(task(), ARRAY, faults(**more), chip="a", seed=0)


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


def test_prune_loses_operands_at_run_time_as_it_loses_weights():
    expected = network()
    prune_(expected, pruned_weights(expected, faults().unusable, ARRAY))
    with torch.no_grad():
        found = bench().network((Prune(),))(INPUTS)
    assert torch.allclose(found, losing(expected, INPUTS), atol=1e-6)
    assert not torch.allclose(found, expected(INPUTS), atol=1e-3)


RECIPES = {
    "compensated": (Prune(), Compensate(form=Sequential(samples=64, places=400))),
    "one shot": (Prune(), Compensate(form=OneShot(samples=64, places=400))),
    "moved": (Remap(), Prune()),
    "recalibrated": (Prune(), Recalibrate()),
    "retrained": (Prune(), Retrain(epochs=1, batch=32, learning_rate=0.01)),
    "codes": (Prune(), CODES),
    "codes, compensated": (
        Prune(),
        Quantize(form=CompensatedFAQ(moments=OneShot(samples=64, places=400)), samples=64),
    ),
}


@pytest.mark.parametrize("name", RECIPES)
def test_whatever_is_done_then_operands_are_lost(name):
    on_bench = bench()
    recipe = RECIPES[name]
    for length in range(1, len(recipe) + 1):
        on_bench.carry_out(recipe[:length])
    found = on_bench.network(recipe)
    bare = network()
    bare.load_state_dict(found.state_dict())
    with torch.no_grad():
        assert torch.allclose(found(INPUTS), losing(bare.eval(), INPUTS), atol=1e-5)


def test_what_comes_behind_makes_up_for_what_values_lose():
    on_bench, clean = bench(), network().eval()
    with torch.no_grad():
        wanted = clean(INPUTS)
        lost = (on_bench.network((Prune(),))(INPUTS) - wanted).square().mean()
        recipe = RECIPES["compensated"]
        left = (on_bench.network(recipe)(INPUTS) - wanted).square().mean()
    assert left < 0.5 * lost


def scores_of(model):
    """Products of queries and keys, as the model computes them."""
    met = []

    def meet(left, right):
        met.append(left @ right)
        return right

    with torch.no_grad(), DynamicProducts(model, meet):
        model(INPUTS)
    return met[0]


@pytest.mark.parametrize("form", [OneShot, Sequential])
def test_queries_are_fitted_to_what_is_left_of_keys(form):
    recipe = (Prune(), Compensate(form=form(samples=64, places=400)))
    wanted, errors = scores_of(network().eval()), []
    for fits in (False, True):
        on_bench = bench()
        if not fits:
            on_bench.calibration.queries = []
        on_bench.carry_out(recipe[:1])
        found = on_bench.network(recipe)
        errors.append((scores_of(found) - wanted).square().mean())
        assert on_bench.spent(recipe).recalibrate == (64 / (3 * 160) if fits else 0)
    assert errors[1] < 0.95 * errors[0]


@pytest.mark.parametrize("name", ["codes", "codes, compensated"])
def test_in_whole_numbers_what_ships_is_what_the_chip_computes(name):
    on_bench = bench()
    recipe = RECIPES[name]
    shipped = on_bench.ships(recipe)
    on_its_chip = on_bench._shipped(recipe)
    with torch.no_grad():
        assert torch.equal(shipped(INPUTS), on_its_chip(INPUTS))
        real = losing(on_bench.network(recipe), INPUTS)
    assert (shipped(INPUTS) - real).abs().max() < 0.15 * real.std()


def test_stuck_datapaths_spoil_products_of_activations_too():
    row, col = np.argwhere(~faults().unusable)[0].tolist()
    on_bench, sound = bench(macs=StuckMacs.of([(row, col, "product", 13, 1)])), bench()
    recipe = (Prune(), CODES)
    with torch.no_grad():
        spoiled, well = (each._shipped(recipe)(INPUTS) for each in (on_bench, sound))
    assert not torch.allclose(spoiled, well, atol=1e-3)


def test_channels_within_attention_keep_their_places():
    moved = {(m.name, m.axis) for c in bench().calibration.couplings for m in c.moved}
    assert ("qkv.weight", 1) in moved, "those that come in may move"
    assert not moved & {("qkv.weight", 0), ("qkv.bias", 0), ("proj.weight", 1)}
