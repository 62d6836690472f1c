"""Networks with attention on the bench: what their products of activations lose stays lost."""

import numpy as np
import pytest
import torch

from attending import ARRAY, INPUTS, faults, losing, network, task
from chipmend.faults import StuckMacs
from chipmend.network.dynamic import DynamicProducts
from chipmend.repairs import Workbench, prune_, pruned_weights
from chipmend.repairs.calibration import Queries
from chipmend.repairs.cost import Cost
from chipmend.steps import (
    FAQ,
    Compensate,
    CompensatedFAQ,
    Match,
    OneShot,
    Prune,
    Quantize,
    Recalibrate,
    Remap,
    Retrain,
    Sequential,
)

CODES = Quantize(form=FAQ(), samples=64)


def bench(**more):
    return Workbench(task(), ARRAY, faults(**more), chip="a", seed=0)


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
            on_bench.calibration._costs[Queries()] = Cost()
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


def test_matching_afterwards_goes_by_the_fitted_queries():
    recipe = (Prune(), Compensate(form=Sequential(samples=64, places=400)))
    wanted, on_bench = scores_of(network().eval()), bench()
    errors = [
        (scores_of(on_bench.network(done)) - wanted).square().mean()
        for done in (recipe, (*recipe, Recalibrate(form=Match(samples=64))))
    ]
    assert errors[1] < 1.1 * errors[0]


def test_finding_queries_is_billed_to_all_chips_together():
    calibration = bench().calibration
    step = Compensate(form=OneShot(samples=64, places=400))
    with_queries = calibration.bill([step]).recalibrate
    passes = calibration._costs[Queries()].recalibrate * 3 * 160 / 64
    assert passes == 4, "two to number outputs, one as it is, one to try what was found"
    del calibration._costs[Queries()], calibration.__dict__["queries"]
    calibration.has_dynamic_products = False
    assert with_queries - calibration.bill([step]).recalibrate == pytest.approx(passes * 64 / 480)
