"""The figures that claims rest on are worked out from the sums as the claims say."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from chipmend.fleet.ledger import PolicySum

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def figures(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import fleet_cost

    return lambda *sums: fleet_cost.figures(SimpleNamespace(sums=lambda: sums))


def policy(name, met, *, ee, seconds, analysis=(0.0, 0.0), shared=(0.0, 0.0)):
    return PolicySum(
        policy=name,
        chips=100,
        met=met,
        shipped=100,
        scrapped=0,
        bins={},
        accuracy_mean=0.9,
        accuracy_min=0.8,
        ee=ee,
        ee_analysis=analysis[0],
        ee_shared=shared[0],
        ee_overspent=None,
        judged=0,
        seconds=seconds,
        seconds_analysis=analysis[1],
        seconds_shared=shared[1],
    )


CASCADE = policy("Cascade", 99, ee=4.0, seconds=300.0, shared=(1.0, 100.0))
REDUCE = policy("Reduce-max", 98, ee=25.0, seconds=2000.0, analysis=(30.0, 2400.0))
LEARNING = policy("Cascade, learning", 100, ee=1.0, seconds=1.0)
FIXED = (
    policy("Fixed(0.25)", 98, ee=20.0, seconds=1600.0),
    policy("Fixed(0.5)", 99, ee=50.0, seconds=4000.0),
    policy("Fixed(0.75)", 100, ee=75.0, seconds=6000.0),
)


def test_every_cost_counts_calibration_and_analyses_are_spread(figures):
    found = figures(CASCADE, REDUCE, LEARNING, *FIXED)
    assert found == {
        "cascade_met": 99,
        "reduce_max_met": 98,
        "most_met_by_another": 100,
        "cascade_over_reduce_max_ee_per_chip": pytest.approx(5 / 25),
        "cascade_over_reduce_max_ee_100": pytest.approx(5 / 55),
        "cascade_over_reduce_max_ee_5000": pytest.approx((0.04 + 1 / 5000) / (0.25 + 30 / 5000)),
        "cascade_over_reduce_max_seconds_100": pytest.approx(400 / 4400),
        "cascade_over_fixed_ee": pytest.approx(5 / 50),
        "cascade_over_fixed_seconds": pytest.approx(400 / 4000),
    }


def test_a_fixed_amount_that_meets_it_on_fewer_chips_does_not_count(figures):
    found = figures(CASCADE, REDUCE, FIXED[0])
    assert found["most_met_by_another"] == 98
    assert found["cascade_over_fixed_ee"] is found["cascade_over_fixed_seconds"] is None
