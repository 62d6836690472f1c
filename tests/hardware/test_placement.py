import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.errors import FaultMapError
from chipmend.hardware import Array, WeightShape, pe_of_weights, weights_on

KERNELS = st.lists(st.integers(1, 3), max_size=3)


@st.composite
def layers(draw):
    """A weight's shape and its kernel sizes, none if linear; groups of one are depthwise."""
    kernel = draw(KERNELS)
    groups = draw(st.integers(1, 4)) if kernel else 1
    inputs = draw(st.integers(1, 4))
    outputs = groups * draw(st.integers(1, 4))
    return WeightShape(outputs, inputs, int(np.prod(kernel, dtype=int)), groups), kernel


def arrays():
    sizes = st.integers(1, 7)
    return st.builds(
        Array, rows=sizes, cols=sizes, placement=st.sampled_from(["im2col", "channel"])
    )


def slow_places(shape, kernel, array):
    """PE of every stored weight, by counting through the dense product of all groups."""
    k_of, k = {}, 0
    for channel in range(shape.inputs * shape.groups):
        for tap in np.ndindex(*kernel):
            k_of[channel, tap] = k
            k += 1
    places, n = [], 0
    for group in range(shape.groups):
        for _ in range(shape.outputs // shape.groups):
            of_output = []
            for own in range(shape.inputs):
                channel = group * shape.inputs + own
                for tap in np.ndindex(*kernel):
                    down = k_of[channel, tap] if array.placement == "im2col" else channel
                    of_output.append((down % array.rows, n % array.cols))
            places.append(of_output)
            n += 1
    return places


@settings(deadline=None, max_examples=150)
@given(layers(), arrays())
def test_every_weight_lands_where_the_definition_puts_it(layer, array):
    shape, kernel = layer
    rows, cols = np.broadcast_arrays(*pe_of_weights(shape, array))
    found = [
        list(zip(row, col, strict=True))
        for row, col in zip(rows.tolist(), cols.tolist(), strict=True)
    ]
    assert found == slow_places(shape, kernel, array)
    assert rows.size == shape.weights


@settings(deadline=None, max_examples=150)
@given(layers(), arrays(), st.integers(0, 2**32 - 1))
def test_a_weight_is_on_a_faulty_pe_if_its_place_is_faulty(layer, array, seed):
    shape, kernel = layer
    faulty = np.random.default_rng(seed).random((array.rows, array.cols)) < 0.4
    expected = [[bool(faulty[place]) for place in row] for row in slow_places(shape, kernel, array)]
    assert weights_on(faulty, shape, array).tolist() == expected


def test_a_convolution_by_hand_takes_a_pe_per_tap_under_im2col_and_one_per_kernel_else():
    # 3 channels of 2 x 2: k = 0..11, on 5 rows; 2 outputs on 1 column
    shape = WeightShape(outputs=2, inputs=3, kernel=4)
    rows, cols = pe_of_weights(shape, Array(rows=5, cols=1))
    assert rows.tolist() == [[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]] * 2
    assert cols.tolist() == [[0], [0]]
    rows, _ = pe_of_weights(shape, Array(rows=2, cols=1, placement="channel"))
    assert rows.tolist() == [[0] * 4 + [1] * 4 + [0] * 4] * 2


def test_groups_count_channels_on_instead_of_starting_anew():
    # 2 groups of 2 channels, kernel of 3: group 1 begins at channel 2, which is k = 6
    shape = WeightShape(outputs=4, inputs=2, kernel=3, groups=2)
    rows, cols = pe_of_weights(shape, Array(rows=100, cols=100))
    assert rows.tolist() == [[0, 1, 2, 3, 4, 5]] * 2 + [[6, 7, 8, 9, 10, 11]] * 2
    assert cols.tolist() == [[0], [1], [2], [3]]


@pytest.mark.parametrize("size", [(3, 2), (2, 4), (1, 1)])
def test_a_map_of_another_size_than_the_array_is_refused(size):
    with pytest.raises(FaultMapError, match="does not describe an array of 2 x 3"):
        weights_on(np.zeros(size, bool), WeightShape(2, 2), Array(rows=2, cols=3))


@pytest.mark.parametrize(
    ("shape", "placement", "weight", "pe"),
    [
        (WeightShape(3, 4), "im2col", (2, 3), (0, 0)),
        (WeightShape(3, 2, kernel=2), "im2col", (0, 0), (0, 0)),
        (WeightShape(3, 2, kernel=2), "im2col", (0, 1), (1, 0)),
        (WeightShape(3, 2, kernel=2), "im2col", (0, 2), (2, 0)),
        (WeightShape(3, 2, kernel=2), "im2col", (1, 3), (0, 1)),
        (WeightShape(3, 2, kernel=2), "im2col", (2, 3), (0, 0)),
        (WeightShape(3, 2, kernel=2), "channel", (1, 2), (1, 1)),
        (WeightShape(3, 2, kernel=2), "channel", (1, 3), (1, 1)),
        (WeightShape(3, 1, kernel=2, groups=3), "im2col", (2, 1), (2, 0)),
        (WeightShape(4, 2, groups=2), "im2col", (3, 0), (2, 1)),
    ],
)
def test_the_worked_examples_of_the_docs_hold(shape, placement, weight, pe):
    rows, cols = pe_of_weights(shape, Array(rows=3, cols=2, placement=placement))
    output, tap = weight
    assert (rows[output, tap], cols[output, 0]) == pe
