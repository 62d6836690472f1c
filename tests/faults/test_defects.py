import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.faults.defects import (
    CHUNK,
    MARGIN,
    SATURATED,
    chances,
    defects_on,
    footprints,
    mean_area,
)


def generator(seed):
    return np.random.Generator(np.random.PCG64(seed))


def slow_defects(size, coverage, seed):
    """Defect after defect, PE by PE, from the same draws, clipped at the edges of the die."""
    rows, cols = size
    rng, faulty, now = generator(seed), set(), 0.0
    expected = coverage * (rows + 2 * MARGIN) * (cols + 2 * MARGIN) / mean_area()
    while now < expected:
        gaps, shares = rng.standard_exponential(CHUNK), rng.random(CHUNK)
        downs = rng.integers(rows + 2 * MARGIN, size=CHUNK)
        acrosses = rng.integers(cols + 2 * MARGIN, size=CHUNK)
        start = now
        for at in range(CHUNK):
            now = start + gaps[: at + 1].cumsum()[-1]
            if now > expected:
                break
            kind = sum(shares[at] >= bound for bound in chances().cumsum()[:-1])
            for down, across in footprints()[kind]:
                row, col = downs[at] - MARGIN + down, acrosses[at] - MARGIN + across
                if 0 <= row < rows and 0 <= col < cols:
                    faulty.add((row, col))
    return faulty


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 1.5), st.integers(0, 99))
def test_defects_cover_what_their_footprints_cover_one_by_one(rows, cols, coverage, seed):
    fast = defects_on((rows, cols), coverage, generator(seed))
    found = set(zip(*(axis.tolist() for axis in np.nonzero(fast)), strict=True))
    assert found == slow_defects((rows, cols), coverage, seed)


def test_footprints_are_points_segments_and_discs():
    shapes = footprints()
    assert [len(shape) for shape in shapes] == [1, *range(2, 9), *range(2, 9), 5, 13, 29]
    assert all(down == 0 for shape in shapes[1:8] for down, _ in shape)
    assert all(across == 0 for shape in shapes[8:15] for _, across in shape)
    assert all(len(set(shape)) == len(shape) for shape in shapes)


def test_no_footprint_reaches_beyond_the_margin():
    reach = max(abs(step) for shape in footprints() for place in shape for step in place)
    assert reach == MARGIN


def test_the_four_kinds_are_equally_likely():
    p = chances()
    assert [p[0], p[1:8].sum(), p[8:15].sum(), p[15:].sum()] == pytest.approx([0.25] * 4)
    assert mean_area() == pytest.approx((1 + 5 + 5 + (5 + 13 + 29) / 3) / 4)


@pytest.mark.parametrize("coverage", [0.1, 1.0, 3.0])
def test_a_pe_is_missed_as_often_as_the_poisson_law_says(coverage):
    shares = np.array([defects_on((10, 10), coverage, generator(s)).mean() for s in range(800)])
    noise = shares.std(ddof=1) / np.sqrt(len(shares))
    assert abs(shares.mean() - (1 - np.exp(-coverage))) < 4.5 * noise


def test_no_coverage_is_no_fault_and_saturated_coverage_leaves_no_pe():
    assert not defects_on((30, 30), 0.0, generator(0)).any()
    for coverage in (SATURATED, 1e150, float("inf")):
        assert defects_on((30, 30), coverage, generator(0)).all()
