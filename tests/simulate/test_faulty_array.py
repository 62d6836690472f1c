"""The simulator against the array PE by PE."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from chipmend.errors import ArrayError, FaultMapError
from chipmend.faults import FaultMap, StuckMacs
from chipmend.hardware import Accumulators, Array, WeightMemory
from chipmend.network.integer.graph import traced
from chipmend.network.integer.grids import Grid
from chipmend.network.integer.layers import Layer, Pair, soundly
from chipmend.simulate import FaultyArray
from simulate import by_hand
from simulate.examples import LAYERS, arrays, columns_of, dense, layer_and_inputs, operands

SITES = ("weight", "product", "accumulator")


@st.composite
def broken(draw, array):
    """Faults of every class; high bits of accumulators more often than others."""
    row, col = st.integers(0, array.rows - 1), st.integers(0, array.cols - 1)
    stuck = {}
    for _ in range(draw(st.integers(0, 6))):
        site = draw(st.sampled_from(SITES))
        most = array.bits_at(site) - 1
        bit = draw(st.integers(0, most) | st.integers(max(0, most - 3), most))
        stuck[draw(row), draw(col), site, bit] = draw(st.integers(0, 1))
    pes = np.zeros((array.rows, array.cols), dtype=bool)
    for _ in range(draw(st.integers(0, 2))):
        pes[draw(row), draw(col)] = True
    return FaultMap(
        rows=array.rows,
        cols=array.cols,
        faulty_pes=pes,
        dead_rows=tuple(draw(st.lists(st.tuples(row, col), max_size=1))),
        dead_cols=tuple(draw(st.lists(col, max_size=1))),
        macs=StuckMacs.of((*place, value) for place, value in stuck.items()),
    )


def expected(layer, inputs, array, faults):
    """What the chip makes of a layer, ``outputs x m``, PE by PE."""
    return by_hand.product(columns_of(layer, inputs), dense(layer), array, faults).T


@settings(deadline=None, max_examples=400)
@given(st.data())
def test_every_bit_is_what_the_array_computes_pe_by_pe(data):
    array = data.draw(arrays())
    faults = data.draw(broken(array))
    name = data.draw(st.sampled_from(sorted(LAYERS)))
    layer, inputs = layer_and_inputs(
        name, array, is_signed=data.draw(st.booleans()), seed=data.draw(st.integers(0, 99))
    )
    found = FaultyArray(array, faults)(layer)(inputs)
    assert np.array_equal(found.numpy(), expected(layer, inputs, array, faults))


def expected_of_pairs(left, right, array, faults):
    """What the chip makes of each sample and head, PE by PE."""
    found = np.empty((*left.shape[:-1], right.shape[-1]), dtype=np.int64)
    for at in np.ndindex(*left.shape[:-2]):
        inputs, weights = left[at].long().numpy(), right[at].long().numpy()
        found[at] = by_hand.product(inputs[:, :, None], weights.T[:, :, None], array, faults)
    return found


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_products_of_activations_are_what_the_array_computes_pe_by_pe(data):
    array = data.draw(arrays().filter(lambda array: array.memory.bits == 8))
    faults = data.draw(broken(array))
    left = Grid(1.0, signed=data.draw(st.booleans()))
    sizes = data.draw(st.integers(1, 13)), data.draw(st.integers(1, 7))
    first, second = operands(left, *sizes, seed=data.draw(st.integers(0, 99)))
    product = FaultyArray(array, faults).pair(Pair("here", left, Grid(1.0, signed=True)))
    found = product(first, second)
    assert np.array_equal(found.numpy(), expected_of_pairs(first, second, array, faults))


def array_of(rows=4, cols=3, **accumulators):
    return Array(rows=rows, cols=cols, accumulators=Accumulators(**accumulators))


def faulty(array, *bits, **more):
    sound = np.zeros((array.rows, array.cols), dtype=bool)
    return FaultMap(
        rows=array.rows,
        cols=array.cols,
        **{"faulty_pes": sound, "macs": StuckMacs.of(bits), **more},
    )


@pytest.mark.parametrize("name", LAYERS)
def test_without_faults_it_is_the_sound_product(name):
    array = array_of()
    layer, inputs = layer_and_inputs(name, array, is_signed=False, seed=0)
    found = FaultyArray(array, faulty(array))(layer)(inputs)
    assert torch.equal(found, soundly(layer)(inputs))


def test_what_is_bypassed_has_no_faults_but_no_weights_either():
    array = array_of()
    layer, inputs = layer_and_inputs("linear", array, is_signed=True, seed=0)
    pes = np.zeros((4, 3), dtype=bool)
    pes[1, 2] = True
    spoiled = faulty(array, (1, 2, "accumulator", 31, 1), faulty_pes=pes)
    found = FaultyArray(array, spoiled)(layer)(inputs)
    numbers = layer.numbers.clone()
    numbers[2::3, 1::4] = 0
    assert torch.equal(found.long(), numbers.long() @ inputs.long().T)


def test_a_worked_example():
    """Two tiles of two rows; bit 3 of the upper accumulator is stuck at 1.

    The first tile's sums are 3 and then 3 + 8 = 11 after the fault, plus 10; the second tile has
    one row: 5, and 13 after the fault.
    """
    array = array_of(rows=2, cols=1)
    operation = traced(nn.Linear(3, 1), torch.zeros(2, 3)).operations[0]
    layer = Layer(operation, torch.tensor([[1.0, 2.0, 5.0]]), Grid(1.0, signed=False))
    inputs = torch.tensor([[3, 5, 1]], dtype=torch.uint8)
    found = FaultyArray(array, faulty(array, (0, 0, "accumulator", 3, 1)))(layer)(inputs)
    assert found.tolist() == [[11 + 10 + 13]]
    idle = FaultyArray(array, faulty(array, (1, 0, "product", 4, 1)))(layer)(inputs)
    assert idle.tolist() == [[3 + (10 | 16) + 5 + 16]]


@pytest.mark.parametrize(
    ("accumulators", "needed"),
    [
        ({"bits": 17}, "of its PEs have 17 bits, and sums of this layer need 18"),
        ({"bits": 18, "outside_bits": 18}, "outside of the array have 18 bits, .* need 20"),
        ({"bits": 19, "tiles": "reentry"}, "of its PEs have 19 bits, .* need 20"),
    ],
)
@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
def test_accumulators_that_are_too_narrow_are_named_with_the_layer(accumulators, needed, overflow):
    """Rows of 4 weights of 127 or -128 on activations of up to 255; 13 of them in all."""
    array = array_of(overflow=overflow, **accumulators)
    layer, _ = layer_and_inputs("linear", array, is_signed=False, seed=0)
    layer.numbers[:] = torch.tensor([127.0, -128.0])[torch.arange(7) % 2, None]
    with pytest.raises(ArrayError, match=f"weight: the accumulators {needed}") as caught:
        FaultyArray(array, faulty(array))(layer)
    assert re.fullmatch(r"set array\.accumulators\.(outside_)?bits to (18|20)", caught.value.hint)


def test_accumulators_that_just_do_are_enough():
    array = array_of(bits=18, outside_bits=20)
    layer, inputs = layer_and_inputs("linear", array, is_signed=False, seed=0)
    layer.numbers[:] = torch.tensor([127.0, -128.0])[torch.arange(7) % 2, None]
    found = FaultyArray(array, faulty(array))(layer)(inputs)
    assert torch.equal(found, soundly(layer)(inputs))


def test_a_map_of_another_array_is_refused():
    array = array_of()
    with pytest.raises(FaultMapError, match="an array of 2 x 3"):
        FaultyArray(array, faulty(array_of(rows=2)))
    with pytest.raises(FaultMapError, match="bit 24 of the accumulator"):
        FaultyArray(array_of(bits=24), faulty(array, (0, 0, "accumulator", 24, 1)))


SIGNED, UNSIGNED = Grid(1.0, signed=True), Grid(1.0, signed=False)


@pytest.mark.parametrize("left", [SIGNED, UNSIGNED])
def test_a_sound_array_multiplies_activations_as_sound_arithmetic_does(left):
    array, pair = array_of(), Pair("here", left, SIGNED)
    first, second = operands(left, 700, 3, seed=0)  # more than single precision holds
    found = FaultyArray(array, faulty(array)).pair(pair)(first, second)
    assert torch.equal(found, (first.long() @ second.long()).to(torch.int32))
    assert torch.equal(soundly.pair(pair)(first, second), found)


def test_heads_that_share_a_right_operand_are_told_apart():
    array = array_of()
    faults = faulty(array, (1, 0, "accumulator", 9, 1), (2, 1, "product", 5, 0))
    first, second = operands(SIGNED, 6, 4, seed=1)
    product = FaultyArray(array, faults).pair(Pair("here", SIGNED, SIGNED))
    assert torch.equal(
        product(first, second[:, :1]), product(first, second[:, :1].expand(-1, 3, -1, -1))
    )


def test_accumulators_too_narrow_for_activations_are_told_before_any_overflows():
    array = array_of(rows=16, bits=19)
    product = FaultyArray(array, faulty(array)).pair(Pair("blocks.0.attn", UNSIGNED, SIGNED))
    zeros = torch.zeros(1, 2, 16, dtype=torch.uint8), torch.zeros(1, 16, 3, dtype=torch.int8)
    with pytest.raises(ArrayError, match=r"blocks\.0\.attn: .* have 19 bits.* need 20"):
        product(*zeros)
    array = array_of(outside_bits=24)
    product = FaultyArray(array, faulty(array)).pair(Pair("", UNSIGNED, SIGNED))
    wide = torch.zeros(1, 2, 300, dtype=torch.uint8), torch.zeros(1, 300, 3, dtype=torch.int8)
    with pytest.raises(ArrayError, match="need 25"):
        product(*wide)


def test_narrow_registers_hold_no_activations():
    array = Array(rows=4, cols=3, memory=WeightMemory(bits=4))
    with pytest.raises(ArrayError, match="weight registers of 4 bits"):
        FaultyArray(array, faulty(array)).pair(Pair("here", SIGNED, SIGNED))
