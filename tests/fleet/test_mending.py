import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

import chipmend as cm
from chipmend.confidence import Drop
from chipmend.errors import RepairError
from chipmend.faults import Chip, StuckBits, fault_map
from chipmend.fleet.executor import Unfinished
from chipmend.fleet.jobs import Job
from chipmend.fleet.ledger import Bin
from chipmend.fleet.mending import Mending
from chipmend.hardware import Array
from chipmend.network import gemms
from chipmend.network.coupling import couplings, permute_
from chipmend.network.evaluate import scores
from chipmend.policy import Fixed, FixedSteps, Group, Reduce, Scrap, Ship, UntilMet
from chipmend.policy.looks import Looks
from chipmend.recipes import retrained_epochs
from chipmend.records import plain, rebuilt
from chipmend.repairs.calibration import Calibration
from chipmend.repairs.chip import repair
from chipmend.repairs.prune import prune_, pruned_weights
from chipmend.repairs.retrain import Retraining
from chipmend.repairs.workbench import Workbench
from chipmend.resilience import Analysis
from chipmend.steps import (
    FAQ,
    Assess,
    Compensate,
    KeepBetter,
    Magnitude,
    Measure,
    OneShot,
    Prune,
    Quantize,
    Recalibrate,
    Recipe,
    Reestimate,
    Remap,
    Retrain,
)

ARRAY = Array(rows=8, cols=8)
CONSTRAINT = Drop(0.05)
NORMS = Recalibrate(form=Reestimate(samples=32))
RETRAIN = Retrain(learning_rate=0.05, batch=32, recalibrate=Reestimate(samples=64))
WALK = Analysis(amounts=(0.0, 0.5, 1.0, 2.0), retrain=RETRAIN).steps()
FAULTS = fault_map(ARRAY, 0.45, cm.Uniform(), seed=1, chip="a")
FIRST = torch.arange(4)
WHOLE = Looks(shares=(1.0,))
POLICIES = (
    FixedSteps(),
    Fixed(epochs=0, retrain=RETRAIN),
    Fixed(epochs=1.5, retrain=RETRAIN),
    UntilMet(increment=0.5, most=1.0, retrain=RETRAIN, looks=WHOLE),
    Reduce(retrain=RETRAIN),
    Fixed(epochs=0.5, decaying=True, retrain=RETRAIN),
    FixedSteps(
        steps=(
            Prune(),
            Recalibrate(form=Reestimate(samples=32)),
            RETRAIN,
            Measure(),
            Recalibrate(form=Reestimate(samples=32)),
        ),
        label="mixed",
    ),
    UntilMet(increment=0.5, most=1.0, retrain=RETRAIN, label="looking on"),
)


@dataclass(frozen=True)
class Raising:
    """Raises after some steps."""

    after: int = 0
    error: str = "ZeroDivisionError"
    name: str = "raising"

    def next(self, group, constraint, seen, table):
        if len(seen) < self.after:
            return (Prune(), RETRAIN)[len(seen)]
        raise {"ZeroDivisionError": ZeroDivisionError, "ours": cm.ChipmendError}[self.error]("oh")


@dataclass(frozen=True)
class Saying:
    """Gives the same answers to everyone."""

    answers: tuple
    name: str = "saying"

    def next(self, group, constraint, seen, table):
        return self.answers[len(seen)]


@dataclass(frozen=True)
class Telling:
    """Assesses what it pruned, and tells what it heard when it gives up."""

    name: str

    def next(self, group, constraint, seen, table):
        if len(seen) < 2:
            return (Prune(), Assess())[len(seen)]
        return Scrap(f"{table} {seen[0].damage} {seen[1].damage!r}")


def mended(task, policies, **options):
    result = worked(task, policies, **options)
    return result.result if isinstance(result, Unfinished) else result


def worked(
    task,
    policies,
    *,
    tables=None,
    hindsight=WALK,
    chips=("a",),
    faults=FAULTS,
    epochs=1.0,
):
    work = Mending(
        task=task,
        array=ARRAY,
        constraint=CONSTRAINT,
        policies=tuple(policies),
        seed=7,
        calibration=Calibration(task, 7),
        clean_validation=scores(task.model, task.validation, task.metric),
        clean_test=scores(task.model, task.test, task.metric),
        tables=tables or {},
        hindsight=hindsight,
    )
    groups = {place: Group(chips=chips, epochs=epochs) for place in range(len(policies))}
    dies = tuple(Chip(name, faults) for name in chips)
    job = Job(dies=dies, faults=faults, effective_rate=0.4, groups=groups)
    result = work(job, lambda _: None)
    for record in (result.result if isinstance(result, Unfinished) else result)["records"]:
        record["cost"].pop("seconds")
    return result


@pytest.fixture(scope="module")
def together(task):
    return mended(task, POLICIES)


def by_policy(result):
    return {record["policy"]: record for record in result["records"]}


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_policy_among_others_gives_the_records_and_the_bill_of_itself_alone(
    task, together, policy
):
    alone = mended(task, [policy], hindsight=())
    assert by_policy(together)[policy.name] == alone["records"][0]


def test_the_order_of_policies_does_not_matter(task, together):
    turned = mended(task, POLICIES[::-1])
    assert by_policy(turned) == by_policy(together)
    assert turned["path"] == together["path"]


def test_hindsight_changes_no_record(task, together):
    assert mended(task, POLICIES, hindsight=())["records"] == together["records"]
    assert mended(task, POLICIES, hindsight=())["path"] == []


@pytest.mark.parametrize("policy", [POLICIES[0], POLICIES[2], POLICIES[5]], ids=lambda p: p.name)
def test_what_ships_is_the_network_of_the_recipe_by_hand(task, together, policy):
    record = by_policy(together)[policy.name]
    steps = {
        "FAP": [Prune()],
        "Fixed(1.5)": [Prune(), replace(RETRAIN, epochs=1.5)],
        "Fixed(0.5, decaying)": [Prune(), policy.next(None, None, (None,), None)],
    }[policy.name]
    assert record["steps"] == plain(steps)
    one = repair(task, cm.Chip("a", FAULTS), array=ARRAY, steps=steps, seed=7)
    accuracy = scores(one.model, task.test, task.metric).mean()
    assert record["accuracy"] == accuracy
    clean = scores(task.model, task.test, task.metric).mean()
    assert record["met"] == (accuracy >= clean - 0.05 - 1e-12)


def networks_looked_at(steps):
    """Shares of the looks at each network that was looked at."""
    looked = [[]]
    for step in steps:
        if step["kind"] == "measure":
            looked[-1].append(step["share"])
        elif looked[-1]:
            looked.append([])
    return [shares for shares in looked if shares]


def test_bills_are_those_worked_out_by_hand(together):
    # 256 training samples, so a pass over n is n / 768; looks take 128, recalibrations 64
    cost = {name: dict(record["cost"]) for name, record in by_policy(together).items()}
    assert {bill.pop("algebra") for bill in cost.values()} == {0}
    assert cost["FAP"] == {"retrain": 0, "recalibrate": 0, "measure": 0}
    assert cost["Fixed(0)"] == {"retrain": 0, "recalibrate": 64 / 768, "measure": 0}
    assert cost["Fixed(1.5)"] == {"retrain": 1.5, "recalibrate": 64 / 768, "measure": 0}
    until = by_policy(together)["UntilMet(0.5)"]
    looks = sum(step["kind"] == "measure" for step in until["steps"])
    assert until["cost"]["retrain"] == pytest.approx(0.5 * (looks - 1))
    assert until["cost"]["recalibrate"] == pytest.approx(looks * 64 / 768)
    assert until["cost"]["measure"] == pytest.approx(looks * 128 / 768)
    looked = networks_looked_at(by_policy(together)["looking on"]["steps"])
    assert cost["looking on"]["retrain"] == pytest.approx(0.5 * (len(looked) - 1))
    # looks are made of batches of 125, so the smallest share of 128 costs as much as 0.7 of them
    images = sum(128 if max(shares) == 1 else 125 for shares in looked)
    assert cost["looking on"]["measure"] == pytest.approx(images / 768)
    mixed = {"retrain": 1, "recalibrate": (32 + 64 + 32) / 768, "measure": 128 / 768}
    assert cost["mixed"] == pytest.approx(mixed)


def test_bins_say_what_was_done(together):
    bins = {name: record["bin"] for name, record in by_policy(together).items()}
    assert bins["FAP"] == Bin.PRUNED
    assert bins["Fixed(0)"] == Bin.REPAIRED
    assert bins["Fixed(1.5)"] == bins["Reduce-max"] == Bin.RETRAINED


def test_hindsight_is_the_test_accuracy_of_each_amount_measured_by_itself(task, together):
    path = together["path"]
    assert [point["epochs"] for point in path] == [0.0, 0.5, 1.0]  # nobody wants 2 epochs
    clean = scores(task.model, task.test, task.metric).mean()
    for point in path:
        steps = [Prune(), replace(RETRAIN, epochs=point["epochs"] or 1.0)]
        if point["epochs"] == 0:
            steps = [Prune(), Recalibrate(form=RETRAIN.recalibrate)]
        one = repair(task, cm.Chip("a", FAULTS), array=ARRAY, steps=steps, seed=7)
        accuracy = scores(one.model, task.test, task.metric).mean()
        assert point["accuracy"] == accuracy
        assert point["met"] == (accuracy >= clean - 0.05 - 1e-12)
        assert point["ee"] == pytest.approx(point["epochs"] + 64 / 768)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_policy_that_raises_fails_alone_and_says_why(task, together, after):
    result = by_policy(mended(task, [Raising(after=after), *POLICIES]))
    failed = result.pop("raising")
    assert failed["bin"] == Bin.FAILED
    assert failed["reason"] == "the policy raised ZeroDivisionError: oh"
    assert (failed["accuracy"], failed["met"]) == (None, False)
    assert len(failed["steps"]) == after
    assert failed["cost"]["retrain"] == (after == 2)
    assert result == by_policy(together)


def test_a_look_may_be_at_a_single_image(task):
    first = Looks(shares=(0.001, 1.0))
    policy = UntilMet(increment=0.5, most=1.0, retrain=RETRAIN, looks=first)
    record = by_policy(mended(task, [policy]))[policy.name]
    assert record["bin"] in {Bin.REPAIRED, Bin.RETRAINED, Bin.SCRAPPED}, record["reason"]


def test_an_error_of_ours_in_a_policy_is_told_in_its_own_words(task):
    failed = mended(task, [Raising(error="ours"), FixedSteps()])["records"]
    assert [(r["bin"], r["reason"]) for r in failed] == [("failed", "oh"), ("pruned", "")]


@pytest.mark.parametrize(
    ("rate", "where"), [(3.0, Bin.REPAIRED), (RETRAIN.learning_rate, Bin.RETRAINED)]
)
def test_a_chip_whose_retraining_was_undone_is_where_it_was_before_it(task, rate, where):
    steps = (Prune(), Recalibrate(), replace(RETRAIN, learning_rate=rate), KeepBetter())
    for after in ((), (Measure(), Recalibrate())):
        (record,) = mended(task, [Saying((*steps, *after, Ship()))])["records"]
        assert record["bin"] == where
        assert record["cost"]["retrain"] > 0


def test_a_chip_whose_channels_changed_places_is_repaired_and_their_places_are_kept(task):
    """On the array, the network with its channels in these places loses what the record says."""
    fam = FixedSteps(steps=(Remap(saliency=Magnitude()), Prune()), label="FAM")
    result = mended(task, [fam, FixedSteps()])
    assert [record["bin"] for record in result["records"]] == [Bin.REPAIRED, Bin.PRUNED]
    assert result["mappings"].keys() == {"FAM"}
    found = {tuple(c.tensors): c for c in couplings(task.model, task.train.batch(FIRST)[0])}
    placed = task.fresh_network()
    for moved in json.loads(json.dumps(result["mappings"]["FAM"])):
        permute_(placed, found[tuple(moved["tensors"])], np.array(moved["positions"]))
    prune_(placed, pruned_weights(placed, FAULTS.unusable, ARRAY))
    accuracy = scores(placed, task.test, task.metric).mean()
    assert accuracy == pytest.approx(by_policy(result)["FAM"]["accuracy"])
    assert accuracy != pytest.approx(by_policy(result)["FAP"]["accuracy"])


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ((None,), "next() gave None"),
        (("ship",), "next() gave 'ship'"),
        ((Prune(), Prune), "next() gave <class"),
        ((Ship(),), "not pruned"),
        ((Recalibrate(), Ship()), "not pruned"),
    ],
)
def test_an_answer_that_is_none_fails_the_policy_that_gave_it(task, answers, reason):
    failed, other = mended(task, [Saying(answers), FixedSteps()])["records"]
    assert failed["bin"] == Bin.FAILED
    assert reason in failed["reason"]
    assert other["bin"] == Bin.PRUNED


def test_whatever_goes_wrong_under_one_policy_leaves_the_others_alone(task, together, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr("chipmend.repairs.workbench.one_shot_", broken)
    steps = (Prune(), Compensate(form=OneShot(samples=64)))
    unfinished = worked(task, [FixedSteps(steps=steps, label="broken"), *POLICIES])
    assert isinstance(unfinished, Unfinished)  # so it is tried again
    result = by_policy(unfinished.result)
    failed = result.pop("broken")
    assert (failed["bin"], failed["steps"]) == (Bin.FAILED, plain(steps[:1]))
    assert "no such kernel" in failed["reason"]
    assert result == by_policy(together)


@pytest.mark.parametrize("first", [True, False])
def test_a_look_of_keep_better_that_fails_leaves_the_other_policies_alone(
    task, together, monkeypatch, first
):
    sound, steps = Workbench.validation, (Prune(), Recalibrate(), RETRAIN, KeepBetter(), Ship())

    def broken(self, recipe, *args):
        if len(recipe) == (2 if first else 3) and Recalibrate() in recipe:
            raise RuntimeError("no such metric")
        return sound(self, recipe, *args)

    monkeypatch.setattr(Workbench, "validation", broken)
    result = by_policy(mended(task, [Saying(steps), *POLICIES]))
    failed = result.pop("saying")
    assert (failed["bin"], failed["steps"]) == (Bin.FAILED, plain(steps[:3]))
    assert "no such metric" in failed["reason"]
    assert failed["cost"]["retrain"] == 1.0
    assert result == by_policy(together)


def test_hindsight_that_breaks_down_decides_no_record(task, monkeypatch):
    wanted = mended(task, [FixedSteps()])["records"]

    def broken(*_, **__):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr("chipmend.repairs.workbench.reestimate_", broken)
    assert worked(task, [FixedSteps()])["records"] == wanted


def test_a_training_that_diverges_fails_its_own_policy_with_the_reason(task, together):
    wild = Fixed(epochs=1.25, retrain=replace(RETRAIN, learning_rate=1e30))
    finished = worked(task, [wild, *POLICIES])
    assert isinstance(finished, dict)  # it would do so again
    result = by_policy(finished)
    failed = result.pop("Fixed(1.25)")
    assert failed["bin"] == Bin.FAILED
    assert "diverged" in failed["reason"]
    assert "1e+30" in failed["reason"]
    assert (failed["accuracy"], failed["met"]) == (None, False)
    assert failed["cost"]["retrain"] == pytest.approx(1.25)
    assert result == by_policy(together)


def test_a_training_that_diverges_late_is_billed_once(task, monkeypatch):
    """Increments of half an epoch, of which the third goes astray: one epoch and a half."""
    sound = Retraining._check_sound

    def diverged(self):
        if self.epochs > 1.25:
            raise RepairError("diverged")
        sound(self)

    monkeypatch.setattr(Retraining, "_check_sound", diverged)
    until = UntilMet(increment=0.5, most=4.0, retrain=RETRAIN, confidence=1 - 1e-9, looks=WHOLE)
    (record,) = mended(task, [until], hindsight=())["records"]
    assert (record["bin"], record["reason"]) == (Bin.FAILED, "diverged")
    assert record["cost"]["retrain"] == pytest.approx(1.5)
    assert record["cost"]["measure"] == pytest.approx(3 * 128 / 768)
    assert retrained_epochs(rebuilt(Recipe, record["steps"])) == 1.0


def test_two_policies_on_one_diverging_trajectory_both_fail(task):
    wild = replace(RETRAIN, learning_rate=1e30)
    policies = [Fixed(epochs=0.5, retrain=wild), Fixed(epochs=1.0, retrain=wild), FixedSteps()]
    result = mended(task, policies)
    assert [r["bin"] for r in result["records"]] == ["failed", "failed", "pruned"]
    assert [r["cost"]["retrain"] for r in result["records"]] == [0.5, 1.0, 0.0]


def test_a_policy_that_comes_to_no_end_is_stopped(task, monkeypatch):
    monkeypatch.setattr("chipmend.fleet.mending.MOST_STEPS", 50)
    endless = Saying((Prune(), *[Measure()] * 1000))
    record = mended(task, [endless])["records"][0]
    assert (record["bin"], record["accuracy"]) == (Bin.FAILED, None)
    assert "no end within 50 steps" in record["reason"]


def test_a_scrapped_chip_has_its_reason_and_ships_nothing(task):
    record = mended(task, [Saying((Prune(), Measure(), Scrap("no hope")))])["records"][0]
    assert (record["bin"], record["reason"]) == (Bin.SCRAPPED, "no hope")
    assert (record["accuracy"], record["met"]) == (None, False)
    assert record["cost"]["measure"] == pytest.approx(128 / 768)


def test_a_policy_hears_of_its_own_table_and_of_the_damage_it_assessed(task):
    policies = [Telling("one"), Telling("other")]
    one, other = mended(task, policies, tables={"one": "its own"}, hindsight=())["records"]
    bench = Workbench(task, ARRAY, FAULTS, chip="a", seed=7)
    bench.network((Prune(),))
    damage = bench.damage((Prune(),), Assess().moments)
    assert one["reason"] == f"its own None {damage!r}"
    assert other["reason"] == f"None None {damage!r}"
    assert one["cost"]["algebra"] == bench.spent((Prune(), Assess())).algebra > 0


def test_chips_of_a_group_share_one_network_and_its_cost(task):
    result = mended(task, [Fixed(epochs=0.5, retrain=RETRAIN)], chips=("a", "b"))
    records = result["records"]
    assert result["path"] == []  # nothing else is trained to be told of
    assert [r["chip"] for r in records] == ["a", "b"]
    assert [r["shared_by"] for r in records] == [2, 2]
    first, second = ({**r, "chip": ""} for r in records)
    assert first == second


def test_a_healthy_chip_keeps_the_clean_network(task):
    nothing = np.zeros((8, 8), bool)
    record = mended(task, [FixedSteps()], faults=cm.FaultMap.of_pes(nothing))["records"][0]
    assert record["accuracy"] == scores(task.model, task.test, task.metric).mean()
    assert record["met"]


def test_with_stuck_bits_what_chooses_codes_ships_and_what_does_not_fails(task):
    words = sum(gemm.weight.numel() for gemm in gemms(task.model))
    hit = np.arange(0, words, 9)
    stuck = StuckBits.of_bits(words, 8, hit, np.full(len(hit), 6), np.ones(len(hit), bool))
    codes = (Prune(), Quantize(form=FAQ(), samples=64))
    policies = [
        FixedSteps(),
        FixedSteps(steps=codes, label="codes"),
        FixedSteps(steps=(*codes, replace(RETRAIN, epochs=0.5)), label="retrained with codes"),
    ]
    result = mended(task, policies, faults=replace(FAULTS, stuck=stuck))
    plainly, coded, retrained = result["records"]
    assert plainly["bin"] == Bin.FAILED
    assert "no step of the policy chooses codes" in plainly["reason"]
    assert (coded["bin"], retrained["bin"]) == (Bin.REPAIRED, Bin.RETRAINED)
    assert result["path"] == []
    chip = cm.Chip(id="a", faults=replace(FAULTS, stuck=stuck))
    one = repair(task, chip, array=ARRAY, steps=codes, seed=7)
    assert coded["accuracy"] == scores(one.model, task.test, task.metric).mean()
