"""The array with upsets against the array PE by PE, told which bits flip."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.errors import ArrayError
from chipmend.hardware import Accumulators, Array, WeightMemory
from chipmend.network.integer.grids import Grid
from chipmend.network.integer.layers import Pair, soundly
from chipmend.simulate import BitErrors, UpsetArray, upset_sums, upsets
from chipmend.simulate.flips import Guard
from chipmend.simulate.passes import Passes
from chipmend.simulate.reach import bounds, widths
from simulate import by_hand
from simulate.examples import LAYERS, arrays, columns_of, dense, layer_and_inputs, operands

ARRAY = Array(rows=4, cols=3, accumulators=Accumulators(bits=22))
UNSIGNED, SIGNED = Grid(1.0, signed=False), Grid(1.0, signed=True)


class Told:
    """Notes which positions are drawn."""

    def __init__(self, monkeypatch, *modules):
        self.positions = []
        draw = upset_sums.drawn
        for module in modules:
            monkeypatch.setattr(module, "drawn", lambda *given: self.noted(draw(*given)))

    def noted(self, positions):
        self.positions.extend(positions.tolist())
        return positions


def unfolded(positions, *sizes):
    """Positions as places along axes of these sizes, the first of which may have any."""
    for position in positions:
        places = []
        for size in reversed(sizes):
            position, place = divmod(position, size)
            places.append(place)
        yield position, *reversed(places)


def flips_of(positions, m, passes, array, site):
    """Bits that flip by output, row of the operand, pass and row of PEs."""
    found = {}
    for *where, bit in unfolded(positions, m, passes, array.rows, array.bits_at(site)):
        found.setdefault(tuple(where), []).append(bit)
    return found


def passes_of(layer, array):
    taps = layer.shape.kernel
    channels = layer.shape.inputs * layer.shape.groups
    if array.placement == "channel":
        return -(-channels // array.rows) * taps
    return -(-channels * taps // array.rows)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_every_bit_is_what_the_array_computes_pe_by_pe(data):
    array, name = data.draw(arrays()), data.draw(st.sampled_from(sorted(LAYERS)))
    site, rate = (
        data.draw(st.sampled_from(["accumulator", "product"])),
        data.draw(st.sampled_from([1e-4, 1e-3, 0.02, 0.3])),
    )
    seed = data.draw(st.integers(0, 99))
    layer, inputs = layer_and_inputs(name, array, is_signed=data.draw(st.booleans()), seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        told = Told(patch, upset_sums)
        found = UpsetArray(array, BitErrors(**{site: rate}), seed=seed)(layer)(inputs)
    columns = columns_of(layer, inputs)
    flips = flips_of(told.positions, len(columns), passes_of(layer, array), array, site)
    weights = [dense(layer)] * len(columns)
    expected = by_hand.upset_product(columns, weights, array, flips, site).T
    assert np.array_equal(found.numpy(), expected)


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_signs_are_extended_and_copies_vote_as_pe_by_pe(data):
    array, name = data.draw(arrays()), data.draw(st.sampled_from(sorted(LAYERS)))
    site = data.draw(st.sampled_from(["accumulator", "product"]))
    seed = data.draw(st.integers(0, 99))
    layer, inputs = layer_and_inputs(name, array, is_signed=data.draw(st.booleans()), seed=seed)
    columns, passes = columns_of(layer, inputs), Passes(layer.shape, array)
    needed = widths(bounds(passes.weights(layer.dense()), layer.grid, passes.slices))
    outputs, places = len(needed), len(columns) // len(inputs)
    important = np.random.default_rng(seed).random((outputs, 1)).repeat(places, 1) < 0.5
    guard = Guard(
        np.ones((2, array.bits_at(site))),
        important=important,
        widths=needed if array.accumulators.tiles == "outside" else None,
        voted=(9, 3) if site == "product" else None,
    )
    with pytest.MonkeyPatch.context() as patch:
        told = Told(patch, upset_sums)
        on = UpsetArray(array, BitErrors(**{site: 0.01}), seed=seed, guards={layer.name: guard})
        found = on(layer)(inputs)
    flips = flips_of(told.positions, len(columns), len(passes.slices), array, site)
    expected = by_hand.upset_product(
        columns,
        [dense(layer)] * len(columns),
        array,
        flips,
        site,
        widths=guard.widths,
        voted=guard.voted and [guard.voted[int(row[0])] for row in important],
    )
    assert np.array_equal(found.numpy(), expected.T)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_weights_flip_for_one_sample_each(data):
    array, name = data.draw(arrays()), data.draw(st.sampled_from(sorted(LAYERS)))
    layer, inputs = layer_and_inputs(name, array, is_signed=True, seed=data.draw(st.integers(0, 9)))
    errors = BitErrors(weights=0.01, accumulator=data.draw(st.sampled_from([0.0, 1e-3])))
    with pytest.MonkeyPatch.context() as patch:
        of_weights, of_sums = Told(patch, upsets), Told(patch, upset_sums)
        found = UpsetArray(array, errors, seed=1)(layer)(inputs)
    bits, samples = array.memory.bits, len(inputs)
    numbers = [layer.numbers.flatten().long().tolist() for _ in range(samples)]
    for weight, sample, bit in unfolded(of_weights.positions, samples, bits):
        pattern = numbers[sample][weight] % 2**bits ^ 2**bit
        numbers[sample][weight] = int(by_hand.signed(pattern, bits))
    held = [
        dense(replace(layer, numbers=torch.tensor(each).view(layer.numbers.shape).float()))
        for each in numbers
    ]
    columns = columns_of(layer, inputs)
    passes = passes_of(layer, array)
    flips = flips_of(of_sums.positions, len(columns), passes, array, "accumulator")
    weights = [held[at % samples] for at in range(len(columns))]  # place by place
    expected = by_hand.upset_product(columns, weights, array, flips, "accumulator").T
    assert np.array_equal(found.numpy(), expected)


@pytest.mark.parametrize("coding", ["twos_complement", "offset_binary", "sign_magnitude"])
def test_weights_flip_as_they_are_coded(coding, monkeypatch):
    array = replace(ARRAY, memory=WeightMemory(bits=4, coding=coding))
    layer, inputs = layer_and_inputs("linear", array, is_signed=True, seed=0)
    layer.numbers.clamp_(-7, 7)
    told = Told(monkeypatch, upsets)
    found = UpsetArray(array, BitErrors(weights=0.01), seed=0)(layer)(inputs)
    values = array.memory.values.tolist()
    numbers = [layer.numbers.flatten().long().tolist() for _ in inputs]
    for weight, sample, bit in unfolded(told.positions, len(inputs), 4):
        code = values.index(numbers[sample][weight]) ^ 1 << bit
        numbers[sample][weight] = values[code]
    assert len(told.positions) > 5
    for sample, held in enumerate(numbers):
        weights = torch.tensor(held).view(layer.numbers.shape).double()
        assert torch.equal(found[:, sample].double(), weights @ inputs[sample].double())


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_products_of_activations_are_upset_alike(data):
    array = data.draw(arrays().filter(lambda array: array.memory.bits == 8))
    left, site = data.draw(st.sampled_from([UNSIGNED, SIGNED])), "accumulator"
    k, n = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 4))
    first, second = operands(left, k, n, seed=data.draw(st.integers(0, 99)))
    on = UpsetArray(array, BitErrors(accumulator=0.002), seed=3)
    with pytest.MonkeyPatch.context() as patch:
        told = Told(patch, upset_sums)
        found = on.pair(Pair("here", left, SIGNED))(first, second).numpy()
    flips = flips_of(told.positions, 4, -(-k // array.rows), array, site)
    for number, at in enumerate(np.ndindex(2, 3)):
        own = {(o - n * number, *r): bits for (o, *r), bits in flips.items() if o // n == number}
        weights = [second[at].long().numpy().T[:, :, None]] * 4
        columns = first[at].long().numpy()[:, :, None]
        expected = by_hand.upset_product(columns, weights, array, own, site)
        assert np.array_equal(found[at], expected)


def test_activations_flip_once_for_all_places_that_read_them():
    layer, inputs = layer_and_inputs("conv", ARRAY, is_signed=False, seed=0)
    on = UpsetArray(ARRAY, BitErrors(activations=0.01), seed=5)
    found = on(layer)(inputs)
    with pytest.MonkeyPatch.context() as patch:
        met = []
        patch.setattr(
            upsets, "with_flips", lambda *given: met.append(upsets_with_flips(*given)) or met[-1]
        )
        again = UpsetArray(ARRAY, BitErrors(activations=0.01), seed=5)(layer)(inputs)
    assert torch.equal(found, again)
    assert not torch.equal(met[0], inputs)
    assert torch.equal(found, soundly(layer)(met[0]))


upsets_with_flips = upsets.with_flips


SOME = BitErrors(accumulator=0.003)


def product_of(guards=None, *, errors=SOME, seed=0, times=1):
    layer, inputs = layer_and_inputs("conv", ARRAY, is_signed=True, seed=0)
    product = UpsetArray(ARRAY, errors, seed=seed, guards=guards)(layer)
    return [product(inputs) for _ in range(times)], soundly(layer)(inputs)


def test_seeds_and_times_tell_draws_apart_and_nothing_else_does():
    (first, second), sound = product_of(times=2)
    assert torch.equal(product_of()[0][0], first)
    assert not torch.equal(first, second)
    assert not torch.equal(product_of(seed=1)[0][0], first)
    assert not torch.equal(first, sound)


def test_what_protection_lets_through_flips_as_it_did_without():
    """Flips of high bits are let through, or those of low ones; sums that both meet differ."""
    (alone,), sound = product_of()
    through = np.ones((2, 22))
    assert torch.equal(product_of({"weight": Guard(through)})[0][0], alone)
    assert torch.equal(product_of({"weight": Guard(0 * through)})[0][0], sound)
    assert torch.equal(product_of({"other": Guard(0 * through)})[0][0], alone)
    low, high = through.copy(), through.copy()
    low[:, 12:], high[:, :12] = 0, 0
    (lower,), (upper,) = (product_of({"weight": Guard(each)})[0] for each in (low, high))
    off = [each - sound for each in (lower, upper)]
    apart = (off[0] != 0) ^ (off[1] != 0)
    assert apart.sum() > 20
    assert torch.equal((sum(off) + sound)[apart], alone[apart])


def test_important_neurons_are_guarded_by_output_and_place():
    (alone,), sound = product_of()
    places = alone.shape[1] // 3
    important = np.random.default_rng(0).random((len(alone), places)) < 0.5
    through = np.stack([np.ones(22), np.zeros(22)])
    (found,), _ = product_of({"weight": Guard(through, important)})
    chosen = torch.from_numpy(important)[:, :, None].expand(-1, -1, 3).reshape(alone.shape)
    assert torch.equal(found, sound.where(chosen, alone))


def test_a_share_that_gets_through_is_that_share():
    errors = BitErrors(accumulator=0.0004)
    counts = []
    for share in (1.0, 0.25):
        guards = {"weight": Guard(np.full((2, 22), share))}
        found = [product_of(guards, errors=errors, seed=seed) for seed in range(150)]
        counts.append(sum(int((each != sound).sum()) for (each,), sound in found))
    assert counts[0] > 1000
    assert counts[1] / counts[0] == pytest.approx(0.25, abs=0.04)


def test_weights_of_which_none_happens_to_flip_are_sound():
    rare = BitErrors(accumulator=SOME.accumulator, weights=1e-12)
    (found,), sound = product_of(errors=rare)
    assert found.shape == sound.shape
    assert not torch.equal(found, sound)
    (found,), sound = product_of(errors=BitErrors(weights=1e-12))
    assert torch.equal(found, sound)


def test_flips_of_sums_are_the_same_whatever_flips_in_buffers(monkeypatch):
    drawn = []
    for errors in (SOME, replace(SOME, activations=0.02, weights=0.01)):
        with monkeypatch.context() as patch:
            told = Told(patch, upset_sums)
            product_of(errors=errors)
        drawn.append(told.positions)
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) > 50


@pytest.mark.parametrize("held", [Accumulators(bits=22), Accumulators(bits=22, tiles="reentry")])
def test_sums_are_the_same_however_many_are_walked_together(held, monkeypatch):
    array = replace(ARRAY, accumulators=held)
    layer, inputs = layer_and_inputs("conv", array, is_signed=True, seed=0)
    found = []
    for together in (2**24, 40):
        monkeypatch.setattr(upset_sums, "WALKED", together)
        found.append(UpsetArray(array, replace(SOME, weights=0.01), seed=0)(layer)(inputs))
    assert torch.equal(*found)
    assert not torch.equal(found[0], soundly(layer)(inputs))


def test_signs_are_not_extended_where_sums_re_enter():
    array = replace(ARRAY, accumulators=Accumulators(bits=22, tiles="reentry"))
    with pytest.raises(ArrayError, match="sums re-enter"):
        UpsetArray(array, SOME, seed=0, guards={"weight": Guard(np.ones((2, 22)), widths=18)})


def test_what_an_array_cannot_do_is_refused():
    layer, _ = layer_and_inputs("linear", ARRAY, is_signed=False, seed=0)
    layer.numbers[:] = 127
    narrow = replace(ARRAY, accumulators=Accumulators(bits=17))
    with pytest.raises(ArrayError, match="weight: the accumulators of its PEs have 17 bits"):
        UpsetArray(narrow, BitErrors(), seed=0)(layer)
    narrow = replace(ARRAY, memory=WeightMemory(bits=4))
    with pytest.raises(ArrayError, match="weight registers of 4 bits"):
        UpsetArray(narrow, BitErrors(), seed=0).pair(Pair("here", SIGNED, SIGNED))
    narrow = replace(ARRAY, accumulators=Accumulators(bits=16))
    product = UpsetArray(narrow, BitErrors(), seed=0).pair(Pair("here", SIGNED, SIGNED))
    with pytest.raises(ArrayError, match="here: the accumulators of its PEs have 16 bits"):
        product(*operands(SIGNED, 4, 2, seed=0))
