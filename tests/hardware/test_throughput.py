import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.errors import ArrayError, NetworkError
from chipmend.hardware import Array, GemmSize, PeShare, Throughput, WeightShape, network_cycles

SHAPES = st.builds(WeightShape, st.integers(1, 12), st.integers(1, 12), st.integers(1, 4))
SIZES = st.lists(st.builds(GemmSize, st.integers(1, 20), SHAPES), min_size=1, max_size=3)
PLACEMENTS = st.sampled_from(["im2col", "channel"])


def fewest_cycles(sizes, rows, cols, placement):
    """By trying every part of an array."""
    return min(
        network_cycles(sizes, Array(rows=r, cols=c, placement=placement))
        for r in range(1, rows + 1)
        for c in range(1, cols + 1)
    )


@settings(deadline=None, max_examples=40)
@given(SIZES, st.integers(1, 6), st.integers(1, 6), PLACEMENTS)
def test_throughput_is_the_ratio_of_the_fewest_cycles_on_any_part(sizes, rows, cols, placement):
    throughput = Throughput(Array(rows=rows, cols=cols, placement=placement), tuple(sizes))
    whole = fewest_cycles(sizes, rows, cols, placement)
    for r in range(1, rows + 1):
        for c in range(1, cols + 1):
            expected = whole / fewest_cycles(sizes, r, c, placement)
            assert throughput.left(r, c) == expected <= 1


def test_all_is_one_and_nothing_is_zero():
    array = Array(rows=6, cols=4)
    for worth in (PeShare(array), Throughput(array, (GemmSize(9, WeightShape(8, 8)),))):
        assert worth.left(6, 4) == 1.0
        assert worth.left(0, 4) == 0.0
        assert worth.left(6, 0) == 0.0


def test_where_all_tiles_fill_the_array_throughput_nears_the_share_of_pes():
    array = Array(rows=8, cols=8)
    huge = Throughput(array, (GemmSize(10**6, WeightShape(outputs=8400, inputs=8400)),))
    for rows, cols in [(8, 4), (7, 8), (5, 6), (1, 1)]:
        assert huge.left(rows, cols) == pytest.approx(PeShare(array).left(rows, cols), rel=1e-3)


def test_the_throughput_of_nothing_is_refused():
    with pytest.raises(NetworkError, match="no matrix product"):
        Throughput(Array(rows=2, cols=2), ())


@pytest.mark.parametrize("make", [PeShare, lambda array: Throughput(array, ())])
def test_what_is_no_array_is_refused(make):
    with pytest.raises(ArrayError, match="no array"):
        make((4, 4))
