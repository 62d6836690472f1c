import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.errors import NetworkError
from chipmend.hardware import Array, GemmSize, WeightShape, gemm_cycles, network_cycles


class SlowArray:
    """A weight-stationary array, register by register and cycle by cycle."""

    def __init__(self, rows, cols):
        self.rows, self.cols, self.cycles = rows, cols, 0

    def tile(self, inputs, weights):
        """``m x rows`` times ``rows x cols``."""
        held = [[0] * self.cols for _ in range(self.rows)]
        for row in reversed(range(self.rows)):  # the last row goes in first
            held = [[int(w) for w in weights[row]], *held[:-1]]
            self.cycles += 1
        m = len(inputs)
        acting = [[0] * self.cols for _ in range(self.rows)]
        sums = [[0] * self.cols for _ in range(self.rows)]
        outputs, taken, time = np.zeros((m, self.cols), int), 0, 0
        while taken < m * self.cols:
            came = [inputs[time - r][r] if 0 <= time - r < m else 0 for r in range(self.rows)]
            acting = [[came[r], *acting[r][:-1]] for r in range(self.rows)]
            above = [[0] * self.cols, *sums[:-1]]
            sums = [
                [above[r][c] + held[r][c] * acting[r][c] for c in range(self.cols)]
                for r in range(self.rows)
            ]
            for c in range(self.cols):
                at = time - (self.rows - 1) - c
                if 0 <= at < m:
                    outputs[at, c] = sums[-1][c]
                    taken += 1
            time += 1
        self.cycles += time
        return outputs

    def product(self, inputs, weights):
        """``m x k`` times ``k x n``, tile by tile."""
        (m, k), n = inputs.shape, weights.shape[1]
        outputs = np.zeros((m, n), int)
        for top in range(0, k, self.rows):
            for left in range(0, n, self.cols):
                part = np.zeros((self.rows, self.cols), int)
                held = weights[top : top + self.rows, left : left + self.cols]
                part[: held.shape[0], : held.shape[1]] = held
                fed = np.zeros((m, self.rows), int)
                fed[:, : held.shape[0]] = inputs[:, top : top + self.rows]
                outputs[:, left : left + self.cols] += self.tile(fed, part)[:, : held.shape[1]]
        return outputs


def dense(weight, groups):
    """``channels x taps x outputs``, zero off the blocks, of a weight of all groups."""
    outputs, inputs, taps = weight.shape
    block = np.zeros((inputs * groups, taps, outputs), int)
    for o in range(outputs):
        group = o // (outputs // groups)
        for i in range(inputs):
            block[group * inputs + i, :, o] = weight[o, i]
    return block


@st.composite
def shapes(draw):
    groups = draw(st.integers(1, 3))
    outputs, inputs = groups * draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return WeightShape(outputs, inputs, draw(st.integers(1, 4)), groups)


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 6), shapes(), st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
def test_cycles_are_those_of_an_array_that_is_run_register_by_register(m, shape, rows, cols, seed):
    rng = np.random.default_rng(seed)
    weight = rng.integers(-3, 4, (shape.outputs, shape.inputs, shape.kernel))
    block = dense(weight, shape.groups)
    inputs = rng.integers(-3, 4, (m, *block.shape[:2]))
    expected = np.einsum("mct,cto->mo", inputs, block)
    size = GemmSize(m, shape)

    im2col = SlowArray(rows, cols)
    found = im2col.product(inputs.reshape(m, -1), block.reshape(-1, shape.outputs))
    assert found.tolist() == expected.tolist()
    assert gemm_cycles(size, Array(rows=rows, cols=cols)) == im2col.cycles

    channel = SlowArray(rows, cols)
    found = sum(channel.product(inputs[:, :, t], block[:, t]) for t in range(shape.kernel))
    assert found.tolist() == expected.tolist()
    assert gemm_cycles(size, Array(rows=rows, cols=cols, placement="channel")) == channel.cycles


def test_a_convolution_by_hand():
    # 16 channels of 3 x 3: k = 144 on 64 rows, n = 40 on 32 columns: 3 x 2 tiles
    size = GemmSize(100, WeightShape(outputs=40, inputs=16, kernel=9))
    assert gemm_cycles(size, Array(rows=64, cols=32)) == 6 * (64 + 100 + 64 + 32 - 2)
    # a whole kernel per PE: 1 x 2 tiles, nine times
    by_channel = Array(rows=64, cols=32, placement="channel")
    assert gemm_cycles(size, by_channel) == 18 * (64 + 100 + 64 + 32 - 2)


def test_depthwise_layers_are_dense_products():
    depthwise = GemmSize(5, WeightShape(outputs=8, inputs=1, kernel=9, groups=8))
    whole = GemmSize(5, WeightShape(outputs=8, inputs=8, kernel=9))
    array = Array(rows=16, cols=4)
    assert gemm_cycles(depthwise, array) == gemm_cycles(whole, array)


def test_the_cycles_of_a_network_are_those_of_its_products():
    sizes = [GemmSize(3, WeightShape(5, 7)), GemmSize(9, WeightShape(2, 4, 9))]
    array = Array(rows=4, cols=4)
    assert network_cycles(sizes, array) == sum(gemm_cycles(size, array) for size in sizes)
    assert network_cycles([], array) == 0


def test_a_product_without_rows_is_refused():
    with pytest.raises(NetworkError, match="0 rows"):
        GemmSize(0, WeightShape(1, 1))
