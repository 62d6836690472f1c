"""A network on a chip against the same network computed layer by layer, PE by PE."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from chipmend.errors import ArrayError
from chipmend.faults import FaultMap, StuckBits, StuckMacs
from chipmend.hardware import Accumulators, Array, WeightMemory
from chipmend.network.coupling import couplings
from chipmend.network.filling import filled
from chipmend.network.gemm import gemms
from chipmend.network.integer.codes import Codes
from chipmend.network.integer.graph import tensors_of
from chipmend.network.integer.network import IntegerNetwork, lowering
from chipmend.simulate import on_chip
from simulate import by_hand

ARRAY = Array(rows=4, cols=3, accumulators=Accumulators(bits=24))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).eval()


def inputs():
    return torch.rand(20, 6, generator=torch.Generator().manual_seed(1))


def lowered_network():
    model = network()
    return (
        lowering(model, [inputs()]),
        model,
        {g.name: Codes.nearest(g.weight) for g in gemms(model)},
    )


def broken(**more):
    pes = np.zeros((4, 3), dtype=bool)
    pes[1, 1] = True
    macs = StuckMacs.of([(0, 0, "accumulator", 13, 1), (2, 2, "weight", 6, 1)])
    return FaultMap(rows=4, cols=3, faulty_pes=pes, macs=macs, **more)


def stuck_bits(words):
    random = np.random.default_rng(0)
    return StuckBits.of_bits(
        words, 8, np.arange(0, words, 3), random.integers(0, 8, -(-words // 3)),
        random.random(-(-words // 3)) < 0.5,
    )  # fmt: skip


def by_pes(lowered, model, codes, faults, order):
    """The network's outputs with its hidden channels in another order on the chip."""
    first, last = codes["0.weight"], codes["2.weight"]
    stored = {
        "0.weight": first.numbers[order].numpy().astype(int),
        "2.weight": last.numbers[:, order].numpy().astype(int),
    }
    if faults.stuck is not None:
        place = 0
        bits = {}
        for word, bit, value in faults.stuck.listed():
            bits.setdefault(word, []).append((bit, value))
        for held in stored.values():
            for at in np.ndindex(held.shape):
                held[at] = by_hand.stuck(held[at], 8, bits.get(place, []))
                place += 1
    grids = lowered.grids
    start, hidden = grids[lowered.graph.input], grids[lowered.stages[0].result]
    x = start.numbers(inputs()).numpy().astype(int)
    sums = by_hand.product(x[:, :, None], stored["0.weight"][:, :, None], ARRAY, faults)
    # what requantization makes of sums is not the array's business: the network's own is taken
    bias = model[0].bias.detach()[order].double().numpy()
    worth = first.step[order].numpy() * start.step
    exact = sums + np.floor(bias / worth + 0.5)
    middle = np.clip(np.floor(exact * (worth / hidden.step) + 0.5), 0, 255).astype(int)
    sums = by_hand.product(middle[:, :, None], stored["2.weight"][:, :, None], ARRAY, faults)
    worth = last.step.numpy() * hidden.step
    return sums * worth + np.floor(model[2].bias.detach().double().numpy() / worth + 0.5) * worth


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("with_stuck_bits", [False, True])
def test_weights_are_stored_read_and_put_where_the_chip_has_them(moved, with_stuck_bits):
    lowered, model, codes = lowered_network()
    faults = broken(stuck=stuck_bits(80) if with_stuck_bits else None)
    (coupling,) = couplings(model, inputs())
    position = np.array([3, 1, 0, 7, 5, 2, 6, 4]) if moved else np.arange(8)
    chip = on_chip(
        lowered,
        tensors_of(model),
        codes,
        array=ARRAY,
        faults=faults,
        filled=filled(model, inputs(), WeightMemory()),
        moved=([coupling], [position]) if moved else None,
    )
    order = np.argsort(position)
    expected = by_pes(lowered, model, codes, faults, torch.from_numpy(order))
    np.testing.assert_allclose(chip(inputs()).numpy(), expected, rtol=1e-6, atol=1e-7)
    sound = IntegerNetwork(lowered, model, codes)(inputs()).numpy()
    assert np.abs(chip(inputs()).numpy() - sound).max() > 0.1


def test_what_it_is_given_is_left_alone():
    lowered, model, codes = lowered_network()
    before, numbers = copy.deepcopy(model.state_dict()), codes["0.weight"].numbers.clone()
    (coupling,) = couplings(model, inputs())
    moved = ([coupling], [np.arange(8)[::-1].copy()])
    on_chip(lowered, tensors_of(model), codes, array=ARRAY, faults=broken(), moved=moved)
    assert all(torch.equal(model.state_dict()[name], held) for name, held in before.items())
    assert torch.equal(codes["0.weight"].numbers, numbers)


def test_narrow_accumulators_are_refused_by_layer():
    lowered, model, codes = lowered_network()
    array = replace(ARRAY, accumulators=Accumulators(bits=16))
    sound = FaultMap.of_pes(np.zeros((4, 3), dtype=bool))
    with pytest.raises(ArrayError, match=r"0\.weight: the accumulators of its PEs have 16 bits"):
        on_chip(lowered, tensors_of(model), codes, array=array, faults=sound)
