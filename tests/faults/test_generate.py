import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chipmend.errors import ArrayError, LotError
from chipmend.faults import Clustered, Lines, Uniform, fault_map, make_chips
from chipmend.faults.generate import mean_coverage
from chipmend.hardware import Array
from chipmend.seeds import chip_seed

EVERY = [Uniform(), Clustered(), Clustered(alpha=0.3), Clustered(alpha=math.inf), Lines()]
RATES = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 1e-12, 1 - 1e-16])
SMALL = Array(rows=9, cols=11)


def unusable(array, rate, spatial, count, **more):
    """``chips x rows x cols``."""
    lot = make_chips(array, rate=rate, count=count, spatial=spatial, **more)
    return np.array([chip.faults.unusable for chip in lot])


def within_noise(shares, rate):
    """Whether the mean over dies lies within 4.5 of its own standard errors of the rate."""
    return abs(shares.mean() - rate) < 4.5 * shares.std(ddof=1) / math.sqrt(len(shares))


@pytest.mark.parametrize("spatial", EVERY)
@pytest.mark.parametrize("rate", [0.02, 0.3, 0.8])
def test_the_expected_share_of_unusable_pes_is_the_rate(spatial, rate):
    shares = unusable(Array(rows=24, cols=17), rate, spatial, 600).mean(axis=(1, 2))
    assert within_noise(shares, rate)


@pytest.mark.parametrize("spatial", EVERY)
def test_a_pe_in_the_corner_is_as_likely_faulty_as_one_in_the_middle(spatial):
    maps = unusable(Array(rows=13, cols=12), 0.3, spatial, 3000)
    for row, col in [(0, 0), (0, 11), (12, 0), (12, 11), (0, 6), (6, 0), (6, 6)]:
        assert within_noise(maps[:, row, col], 0.3)


def test_uniform_faults_are_drawn_pe_by_pe():
    rng = np.random.Generator(np.random.PCG64(chip_seed(5, "a", "faults uniform 0.25")))
    slow = [[rng.random() < 0.25 for _ in range(11)] for _ in range(9)]
    faults = fault_map(SMALL, 0.25, Uniform(), seed=5, chip="a")
    assert faults.faulty_pes.tolist() == slow
    assert faults.provenance.source == "generated: uniform, rate 0.25 per PE, seed 5"


def test_uniform_counts_are_binomial():
    counts = unusable(Array(rows=4, cols=4), 0.3, Uniform(), 2000).sum(axis=(1, 2))
    expected = 2000 * stats.binom.pmf(np.arange(17), 16, 0.3)
    found = np.bincount(counts, minlength=17)
    few, many = slice(0, 9), slice(9, 17)
    binned = [[*numbers[few], numbers[many].sum()] for numbers in (found, expected)]
    assert stats.chisquare(*binned).pvalue > 1e-4


def test_lines_are_whole_rows_and_columns_and_no_single_pe():
    lot = make_chips(SMALL, rate=0.3, count=20, spatial=Lines())
    assert not any(chip.faults.faulty_pes.any() for chip in lot)
    assert all(from_col == 0 for chip in lot for _, from_col in chip.faults.dead_rows)
    assert any(chip.faults.dead_rows for chip in lot)
    assert any(chip.faults.dead_cols for chip in lot)


def test_rows_and_columns_die_equally_often():
    lot = make_chips(Array(rows=20, cols=20), rate=0.19, count=500, spatial=Lines())
    for lines in ("dead_rows", "dead_cols"):
        shares = np.array([len(getattr(chip.faults, lines)) / 20 for chip in lot])
        assert within_noise(shares, 0.1)  # 1 - 0.9^2 = 0.19


@pytest.mark.parametrize("alpha", [0.3, 2.0, 10.0])
def test_distant_pes_of_a_clustered_die_are_healthy_together_as_the_negative_binomial_says(alpha):
    maps = unusable(Array(rows=30, cols=30), 0.3, Clustered(alpha=alpha), 3000)
    corners = maps[:, [0, 0, 29, 29], [0, 29, 0, 29]]
    mu = mean_coverage(0.3, alpha)
    for pes in (1, 2, 3, 4):
        healthy = ~corners[:, :pes].any(axis=1)
        assert within_noise(healthy, (1 + pes * mu / alpha) ** -alpha)


def test_distant_pes_are_independent_if_all_dies_are_alike():
    maps = unusable(Array(rows=30, cols=30), 0.3, Clustered(alpha=math.inf), 3000)
    assert within_noise(~maps[:, [0, 29], [0, 29]].any(axis=1), 0.7**2)


def test_neighbours_share_clustered_faults():
    maps = unusable(Array(rows=20, cols=20), 0.1, Clustered(alpha=math.inf), 200)
    both = (maps[:, :, 1:] & maps[:, :, :-1]).mean()
    assert both > 3 * 0.1**2


@given(st.floats(0, 0.999), st.floats(0.1, 50))
def test_mean_coverage_inverts_the_negative_binomial_yield(rate, alpha):
    mu = mean_coverage(rate, alpha)
    assert (1 + mu / alpha) ** -alpha == pytest.approx(1 - rate, rel=1e-9)


@given(st.floats(0, 0.999))
def test_mean_coverage_of_even_dies_is_the_limit(rate):
    assert math.exp(-mean_coverage(rate, math.inf)) == pytest.approx(1 - rate)
    assert mean_coverage(rate, 1e7) == pytest.approx(mean_coverage(rate, math.inf), rel=1e-4)


@settings(deadline=None)
@given(st.sampled_from(EVERY), RATES, RATES, st.integers(0, 99), st.text(max_size=3))
def test_nested_maps_grow_with_the_rate(spatial, one, other, seed, chip):
    low, high = (
        fault_map(SMALL, rate, spatial, seed=seed, chip=chip, nested=True).unusable
        for rate in sorted([one, other])
    )
    assert (low <= high).all()


@pytest.mark.parametrize("spatial", EVERY)
def test_nested_maps_have_the_rate_too(spatial):
    shares = unusable(SMALL, 0.4, spatial, 1000, nested=True).mean(axis=(1, 2))
    assert within_noise(shares, 0.4)


@pytest.mark.parametrize("spatial", EVERY)
def test_maps_that_are_not_nested_are_independent_over_rates(spatial):
    low, high = (unusable(SMALL, rate, spatial, 300) for rate in (0.3, 0.30001))
    pairs = low[:, 0, 0] & high[:, 0, 0]
    assert within_noise(pairs, 0.09)


@pytest.mark.parametrize("spatial", EVERY)
def test_rate_0_is_a_healthy_chip_and_rate_1_a_dead_one(spatial):
    for nested in (False, True):
        for seed in range(20):
            none, every = (
                fault_map(SMALL, rate, spatial, seed=seed, chip="a", nested=nested)
                for rate in (0, 1)
            )
            assert (none.rate, every.rate) == (0, 1)


@pytest.mark.parametrize("spatial", EVERY)
def test_a_map_depends_on_nothing_but_its_arguments(spatial):
    first, again, other_seed, other_chip = (
        fault_map(SMALL, 0.4, spatial, seed=seed, chip=chip)
        for seed, chip in [(0, "a"), (0, "a"), (1, "a"), (0, "b")]
    )
    assert first == again
    assert len({first.digest(), other_seed.digest(), other_chip.digest()}) == 3


def test_making_more_chips_does_not_change_the_first():
    few, many = (make_chips(SMALL, rate=(0.1, 0.5), count=count, seed=3) for count in (3, 9))
    assert list(few) == list(many[:3])


def test_chips_are_numbered_from_1_and_belong_to_their_lot():
    lot = make_chips(SMALL, rate=0.1, count=12, lot="L42")
    assert [lot[0].id, lot[11].id, lot[0].lot] == ["chip-0001", "chip-0012", "L42"]


def test_rates_of_a_range_are_drawn_over_all_of_it():
    lot = make_chips(Array(rows=64, cols=64), rate=(0.2, 0.6), count=200)
    assert stats.kstest((lot.rates - 0.2) / 0.4, "uniform").pvalue > 1e-4


def test_even_rates_rise_from_the_lowest_to_the_highest():
    lot = make_chips(Array(rows=128, cols=128), rate=(0.1, 0.5), count=5, spread="even")
    assert lot.rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5], abs=0.02)
    assert [float(c.faults.provenance.source.split()[3]) for c in lot][::4] == [0.1, 0.5]
    one = make_chips(SMALL, rate=(0.1, 0.5), count=1, spread="even")
    assert "rate 0.1 per PE" in one[0].faults.provenance.source


@pytest.mark.parametrize(
    ("rate", "why"),
    [
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-0.1, "rate of -0.1"),
        (1.1, "rate of 1.1"),
        (50, "rate of 50"),
        ((0.1, math.nan), "nan"),
        ((-1, 0.5), "-1"),
        ((0.5, 0.1), "lowest fault rate, 0.5, is above the highest, 0.1"),
    ],
)
def test_rates_that_are_none_are_refused(rate, why):
    with pytest.raises(LotError, match=why) as caught:
        make_chips(SMALL, rate=rate, count=1)
    assert caught.value.hint


@pytest.mark.parametrize("count", [0, -3])
def test_zero_chips_are_refused(count):
    with pytest.raises(LotError, match="zero chips"):
        make_chips(SMALL, rate=0.1, count=count)


@pytest.mark.parametrize("alpha", [0, 0.05, -1, math.nan])
def test_an_alpha_that_is_none_is_refused(alpha):
    with pytest.raises(LotError, match="alpha"):
        Clustered(alpha=alpha)


def test_ten_thousand_large_maps_would_take_under_a_minute():
    start = time.process_time()
    make_chips(Array(rows=256, cols=256), rate=0.05, count=200)
    assert time.process_time() - start < 200 * 60 / 10_000


def test_an_unknown_spread_is_refused():
    with pytest.raises(LotError, match="no spread 'Even'"):
        make_chips(Array(rows=2, cols=2), rate=(0.1, 0.5), count=2, spread="Even")


@pytest.mark.parametrize("rate", ["0.1", (0.1, 0.2, 0.3), (0.1,), None])
def test_a_rate_of_another_kind_is_refused(rate):
    with pytest.raises(LotError, match="a fault rate of"):
        make_chips(Array(rows=4, cols=4), rate=rate, count=1)


def test_what_is_no_array_is_refused():
    with pytest.raises(ArrayError, match=r"\(4, 4\) is no array"):
        make_chips((4, 4), rate=0.1, count=1)
