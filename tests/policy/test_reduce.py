import math
from dataclasses import replace

import pytest

from chipmend.errors import PlanError, TableError
from chipmend.policy import Reduce, Scrap, Ship
from chipmend.policy.protocol import Observation
from chipmend.resilience import Analysis
from chipmend.steps import Compensate, KeepBetter, Prune, Recalibrate, Reestimate, Remap, Retrain
from contracts.policy_contract import CONSTRAINT, DIES, PolicyContract, die, table

START = (Remap(), Prune(), Compensate())


class TestMax(PolicyContract):
    @pytest.fixture
    def policy(self):
        return Reduce()


class TestMean(PolicyContract):
    @pytest.fixture
    def policy(self):
        return Reduce(statistic="mean")


class TestQuantile(PolicyContract):
    @pytest.fixture
    def policy(self):
        return Reduce(statistic="quantile", quantile=0.5)


class TestAfterRepair(PolicyContract):
    @pytest.fixture
    def policy(self):
        return Reduce(start=(Prune(), Compensate()))


def planned(rate, **fields):
    return Reduce(**fields).plan([die("a", rate)], CONSTRAINT, table())[0].epochs


@pytest.mark.parametrize(
    ("rate", "statistic", "epochs"),
    [
        # needed (bar 0.88): 0.5 and 0 at 30 %, 1 and 0.5 at 50 %, nothing at 90 %
        (0.3, "max", 0.5),
        (0.3, "mean", 0.25),
        (0.3, "min", 0.0),
        (0.5, "max", 1.0),
        (0.5, "mean", 0.75),
        (0.5, "min", 0.5),
        (0.4, "max", 0.75),
        (0.4, "mean", 0.5),
        (0.4, "min", 0.25),
        (0.15, "max", 0.25),
        (0.0, "max", 0.0),
        (0.51, "max", 1.0),  # towards 90 %: the largest amount that was analysed
        (0.89, "min", 1.0),
        (0.9, "min", math.inf),
        (1.0, "max", math.inf),
    ],
)
def test_a_chip_gets_what_its_effective_rate_needed_in_the_analysis(rate, statistic, epochs):
    assert planned(rate, statistic=statistic) == pytest.approx(epochs)


def test_half_of_the_repeats_are_the_smaller_one_of_two():
    assert planned(0.5, statistic="quantile", quantile=0.5) == 0.5
    assert planned(0.5, statistic="quantile", quantile=0.51) == 1.0
    assert planned(0.5, statistic="quantile", quantile=1.0) == 1.0


def walked(policy, rate):
    group = policy.plan([die("a", rate)], CONSTRAINT, table())[0]
    seen, answers = [], []
    while not isinstance(
        answer := policy.next(group, CONSTRAINT, tuple(seen), table()), Ship | Scrap
    ):
        seen.append(Observation(answer))
        answers.append(answer)
    return answers, answer


def test_the_amount_is_trained_in_one_go_after_pruning():
    settings = Retrain(learning_rate=0.1)
    expected = [Prune(), Retrain(learning_rate=0.1, epochs=0.75)]
    assert walked(Reduce(retrain=settings), 0.4) == (expected, Ship())


def test_a_healthy_chip_is_only_recalibrated():
    assert walked(Reduce(), 0.0) == ([Prune(), Recalibrate(form=Reestimate())], Ship())


def test_repair_comes_before_the_amount_and_is_enough_for_a_healthy_chip():
    policy = Reduce(start=START, retrain=Retrain(learning_rate=0.1))
    retrained = Retrain(learning_rate=0.1, epochs=0.75)
    assert walked(policy, 0.4)[0] == [*START, retrained, KeepBetter()]
    assert walked(policy, 0.0)[0] == list(START)


@pytest.mark.parametrize(("rate", "kept"), [(0.3, True), (0.0, False)])
@pytest.mark.parametrize(
    ("start", "given", "keeps"),
    [
        (START, None, True),
        (START, True, True),
        (START, False, False),
        ((Prune(),), None, False),
        ((Prune(),), True, True),
    ],
)
def test_it_keeps_the_better_of_the_retrained_network_and_a_repaired_start(
    start, given, keeps, rate, kept
):
    steps, _ = walked(Reduce(start=start, keep_better=given), rate)
    plain, _ = walked(Reduce(start=start, keep_better=False), rate)
    assert steps == [*plain, *([KeepBetter()] if kept and keeps else [])]


def test_its_analysis_is_the_usual_one_from_its_start():
    usual = Analysis(rates=(0.2,), amounts=(0.0, 0.5), repeats=3)
    assert Reduce().analysis(usual, CONSTRAINT) == usual
    expected = Analysis(rates=(0.2,), amounts=(0.0, 0.5), repeats=3, start=START)
    assert Reduce(start=START).analysis(usual, CONSTRAINT) == expected


def test_a_chip_that_no_amount_would_save_is_scrapped_before_any_work():
    steps, answer = walked(Reduce(), 0.9)
    assert steps == []
    said = "'drop <= 2 points' was not reached in the analysis at an effective fault rate of 90 %"
    assert answer == Scrap(said)
    _, beyond = walked(Reduce(), 1.0)
    assert beyond == Scrap(f"{said}, and the chip has 100 %")


def test_without_a_table_it_says_so():
    with pytest.raises(TableError, match="no resilience table"):
        Reduce().plan(DIES, CONSTRAINT, None)


def test_names_tell_statistics_apart():
    policies = [Reduce(), Reduce(statistic="mean"), Reduce(statistic="quantile", quantile=0.9)]
    assert [p.name for p in policies] == ["Reduce-max", "Reduce-mean", "Reduce-90%"]
    repaired = [Reduce(start=START), Reduce(statistic="quantile", quantile=0.9, start=START)]
    assert [p.name for p in repaired] == ["Repair + Reduce-max", "Repair + Reduce-90%"]
    assert Reduce(label="mine").name == "mine"


@pytest.mark.parametrize("quantile", [0.0, -0.5, 1.01, math.nan])
def test_a_quantile_that_is_no_fraction_is_refused(quantile):
    with pytest.raises(PlanError, match="quantile"):
        Reduce(statistic="quantile", quantile=quantile)


@pytest.mark.parametrize("start", [(), (Compensate(),), (Prune(), Retrain())])
def test_a_start_that_is_none_is_refused(start):
    with pytest.raises(PlanError, match="reduce: its start"):
        Reduce(start=start)


def with_bits(made, bits):
    """A table's repeats with stuck bits, and no PE faulty."""
    return replace(
        made,
        trajectories=tuple(
            replace(t, rate=0.0, effective_rate=0.0, bit_rate=t.rate, effective_bit_rate=t.rate)
            if bits
            else t
            for t in made.trajectories
        ),
    )


def test_the_reason_names_the_rate_that_was_lost():
    chip = replace(die("a", 0.0), effective_bit_rate=0.95)
    (group,) = Reduce().plan([chip], CONSTRAINT, with_bits(table(), bits=True))
    assert math.isinf(group.epochs)
    assert group.reason == "a rate of stuck bits of 90 %, and the chip has 95 %"
    (group,) = Reduce().plan([die("a", 0.3)], CONSTRAINT, table())
    assert group.reason == "an effective fault rate of 30 %"
    (group,) = Reduce().plan([die("a", 0.0)], CONSTRAINT, table())
    assert group.reason == "an effective fault rate of 0 %"
