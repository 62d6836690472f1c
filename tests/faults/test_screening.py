import numpy as np
import pytest

from chipmend.errors import FaultMapError
from chipmend.faults import FaultMap, MacsAt, StuckAt, fault_map, make_chips
from chipmend.faults.generate import Lines, Uniform
from chipmend.faults.screening import WORSE, Margin, Screening
from chipmend.hardware import Array, WeightMemory

ARRAY = Array(rows=64, cols=64, memory=WeightMemory(words=20_000))


def broken(rate=0.2, spatial=None, seed=0, **more):
    return fault_map(ARRAY, rate, spatial or Uniform(), seed=seed, chip="a", **more)


def seen(faults, **shares):
    return Screening(**shares).seen(faults, seed=0, chip="a")


def test_so_many_faults_are_missed_and_none_is_invented():
    faults = broken()
    found = seen(faults, hidden=0.1)
    assert not (found.faulty_pes & ~faults.faulty_pes).any()
    assert found.faulty_pes.sum() == pytest.approx(0.9 * faults.faulty_pes.sum(), rel=0.05)


def test_so_many_healthy_pes_are_taken_for_faulty():
    faults = broken()
    found = seen(faults, spurious=0.05)
    assert (found.faulty_pes & faults.faulty_pes).sum() == faults.faulty_pes.sum()
    invented = found.faulty_pes & ~faults.faulty_pes
    assert invented.sum() == pytest.approx(0.05 * (~faults.faulty_pes).sum(), rel=0.25)


def test_lines_and_datapaths_are_missed_as_well():
    many = broken(0.5, Lines())
    found = seen(many, hidden=0.5)
    assert set(found.dead_rows) < set(many.dead_rows)
    assert set(found.dead_cols) < set(many.dead_cols)
    live = broken(0.0, macs=MacsAt(count=200))
    kept = seen(live, hidden=0.25).macs
    assert len(kept) == pytest.approx(150, rel=0.15)
    assert set(kept.listed()) < set(live.macs.listed())


def test_stuck_bits_are_missed_and_invented():
    stuck = broken(stuck=StuckAt(rate=0.05, at_1=0.8)).stuck
    found = seen(broken(stuck=StuckAt(rate=0.05, at_1=0.8)), hidden=0.2, spurious=0.01).stuck
    true, told = set(stuck.listed()), set(found.listed())
    assert len(true & told) == pytest.approx(0.8 * len(true), rel=0.05)
    assert len(told - true) == pytest.approx(0.01 * 160_000 * 0.95, rel=0.1)
    places = {(word, bit) for word, bit, _ in true}
    assert not any((word, bit) in places for word, bit, _ in told - true)


def test_a_test_without_a_flaw_sees_what_is_there():
    faults = broken(0.3, stuck=StuckAt(rate=0.02), macs=MacsAt(count=5))
    found = seen(faults)
    assert found.digest() == faults.digest()
    assert "misses 0" in found.provenance.source


def test_the_map_depends_on_nothing_but_seed_and_chip():
    faults, test = broken(), Screening(hidden=0.3)
    assert test.seen(faults, seed=0, chip="a") == test.seen(faults, seed=0, chip="a")
    others = [test.seen(faults, seed=s, chip=c) for s, c in ((1, "a"), (0, "b"))]
    assert all(other.digest() != seen(faults, hidden=0.3).digest() for other in others)


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_what_may_lie_behind_a_map_is_as_much_as_was_missed(rate):
    """On average over chips: what a margin draws beside what was seen is what was there."""
    margin, test = Margin(hidden=0.1), Screening(hidden=0.1)
    missed, drawn = [], []
    for chip in make_chips(ARRAY, rate=rate, count=40, stuck=StuckAt(rate=0.02)):
        found = test.seen(chip.faults, seed=0, chip=chip.id)
        behind = margin.behind(found, seed=0, chip=chip.id, draw=0)
        assert not (found.faulty_pes & ~behind.faulty_pes).any()
        assert set(found.stuck.listed()) <= set(behind.stuck.listed())
        missed.append([chip.faults.rate - found.rate, chip.faults.stuck.rate - found.stuck.rate])
        drawn.append([behind.rate - found.rate, behind.stuck.rate - found.stuck.rate])
    assert np.mean(drawn, axis=0) == pytest.approx(np.mean(missed, axis=0), rel=0.1)


def test_draws_differ_and_a_clean_map_may_hide_a_fault():
    clean = FaultMap.of_pes(np.zeros((8, 8), bool))
    draws = [Margin(hidden=0.5).behind(clean, seed=0, chip="a", draw=n) for n in range(50)]
    counts = [int(draw.faulty_pes.sum()) for draw in draws]
    assert 0.5 < np.mean(counts) < 1.5
    assert len({draw.digest() for draw in draws}) > 10


def test_lines_may_lie_behind_where_lines_were_found():
    faults = broken(0.3, Lines())
    draws = [Margin(hidden=0.3).behind(faults, seed=0, chip="a", draw=n) for n in range(50)]
    more = np.mean([len(draw.dead_rows) - len(faults.dead_rows) for draw in draws])
    assert more == pytest.approx(len(faults.dead_rows) * 3 / 7, rel=0.25)


@pytest.mark.parametrize("shares", [{"hidden": 1.0}, {"hidden": -0.1}, {"spurious": 1.5}])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(FaultMapError, match="screening with a share of"):
        Screening(**shares)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, "much"])
def test_a_margin_for_nothing_or_for_everything_is_refused(share):
    with pytest.raises(FaultMapError, match=r"a margin with .* coverage"):
        Margin(hidden=0.1, coverage=share)
    with pytest.raises(FaultMapError, match=r"a margin with .* hidden"):
        Margin(hidden=share)


@pytest.mark.parametrize(
    ("coverage", "draws"), [(0.95, 79), (0.9, 39), (0.99, 399), (0.5, 7), (0.01, 4)]
)
def test_so_many_draws_leave_a_further_one_among_the_worst_as_the_coverage_has_it(coverage, draws):
    """Exactly, where that is possible: a rank of the last of n + 1 draws is as likely as any."""
    assert Margin(hidden=0.1, coverage=coverage).draws == draws
    if coverage >= 0.5:
        assert WORSE / (draws + 1) == pytest.approx(1 - coverage)
