import math
from dataclasses import replace

import numpy as np
import pytest

import chipmend as cm
from chipmend.confidence import Accuracy, Drop
from chipmend.confidence import measured as seen_as
from chipmend.errors import PlanError, TableError
from chipmend.faults import Chip, Clustered, fault_map
from chipmend.hardware import Array, WeightMemory
from chipmend.network import gemms, scores
from chipmend.repairs import Workbench, pruned_weights
from chipmend.repairs.chip import repair
from chipmend.resilience import Analysis, trajectory
from chipmend.resilience.analysis import Repeat
from chipmend.resilience.table import SURE, Point
from chipmend.steps import (
    FAQ,
    Assess,
    Compensate,
    Decaying,
    Magnitude,
    Measure,
    OneShot,
    Prune,
    Quantize,
    Recalibrate,
    Reestimate,
    Remap,
    Retrain,
)

ARRAY = Array(rows=8, cols=8)
RETRAIN = Retrain(learning_rate=0.05, batch=32, recalibrate=Reestimate(samples=64))
ANALYSIS = Analysis(rates=(0.4,), amounts=(0.0, 0.5, 1.5), repeats=1, retrain=RETRAIN)
SEED = 3
CHIP = "analysis/0.4/0"
ALONE = Compensate(form=OneShot(samples=64, places=500))
REMAP = Remap(saliency=Magnitude())
RUNGS = ((Prune(),), (Prune(), ALONE), (REMAP, Prune(), ALONE))
CLIMBING = replace(ANALYSIS, rungs=RUNGS, start=RUNGS[-1], share=0.5, until=Drop(0.03))


def clean_scores(task):
    return scores(task.model, task.validation, task.metric)


def walked(task, analysis=ANALYSIS, repeat=0, **more):
    job, clean = Repeat(Point(0.4), repeat), clean_scores(task)
    return trajectory(task, ARRAY, analysis, job, clean=clean, seed=SEED, **more)


@pytest.fixture(scope="module")
def measured(task):
    return walked(task)


@pytest.fixture(scope="module")
def faults():
    return fault_map(ARRAY, 0.4, cm.Uniform(), seed=SEED, chip=CHIP)


def test_accuracies_equal_those_of_recipes_carried_out_one_by_one(task, measured, faults):
    chip = cm.Chip(CHIP, faults)
    recipes = [
        [Prune(), Recalibrate(form=Reestimate(samples=64))],
        [Prune(), Retrain(**{**settings(), "epochs": 0.5})],
        [Prune(), Retrain(**{**settings(), "epochs": 1.5})],
    ]
    alone = [repair(task, chip, array=ARRAY, steps=steps, seed=SEED) for steps in recipes]
    assert measured.accuracies == tuple(one.validation_accuracy for one in alone)


def settings():
    return {"learning_rate": 0.05, "batch": 32, "recalibrate": Reestimate(samples=64)}


def test_the_bill_is_the_sum_worked_out_by_hand(task, measured):
    # 256 training samples: 1.5 epochs; 3 recalibrations of 64 and 3 looks at 128, 3 x 256 an epoch
    assert (len(task.train), len(task.validation)) == (256, 128)
    assert measured.ee == pytest.approx(1.5 + 3 * 64 / 768 + 3 * 128 / 768)


def test_the_effective_rate_is_the_share_of_pruned_weights(task, measured, faults):
    pruned = pruned_weights(task.model, faults.unusable, ARRAY)
    weights = np.concatenate([p.numpy().ravel() for p in pruned.values()])
    assert measured.effective_rate == pytest.approx(weights.mean())
    assert (measured.rate, measured.repeat) == (0.4, 0)


def test_a_repeat_is_the_same_again_and_others_have_maps_of_their_own(task, measured):
    again = walked(task)
    assert (again.accuracies, again.ee) == (measured.accuracies, measured.ee)
    other = walked(task, repeat=1)
    assert other.effective_rate != measured.effective_rate


def test_whoever_listens_hears_the_work_grow_to_the_whole_bill(task, measured):
    told = []
    walked(task, tick=told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(measured.ee)


def test_the_walk_looks_at_every_amount_and_trains_the_differences():
    analysis = Analysis(amounts=(0.0, 0.1, 0.3), retrain=RETRAIN)
    walk = analysis.steps()
    assert [step.kind for step in walk] == (
        ["prune", "recalibrate", "measure", "retrain", "measure", "retrain", "measure"]
    )
    assert [step.epochs for step in walk if isinstance(step, Retrain)] == [0.1, 0.2]
    assert walk[1] == Recalibrate(form=RETRAIN.recalibrate)
    assert walk[2] == Measure()


def test_the_walk_begins_with_the_start_and_corrects_norms_only_if_that_does_not():
    repaired = Analysis(amounts=(0.0, 0.1), start=(Prune(), ALONE), share=0.5).steps()
    assert repaired[:3] == (Prune(), ALONE, Measure(share=0.5))
    assert [step.kind for step in repaired[3:]] == ["retrain", "measure"]
    mapped = Analysis(amounts=(0.0,), start=(REMAP, Prune()), retrain=RETRAIN).steps()
    assert mapped == (REMAP, Prune(), Recalibrate(form=RETRAIN.recalibrate), Measure())


@pytest.fixture(scope="module")
def climbed(task):
    return walked(task, CLIMBING)


@pytest.fixture
def bench(task, faults):
    return Workbench(task, ARRAY, faults, chip=CHIP, seed=SEED)


def test_rungs_are_looked_at_as_if_each_was_climbed_alone(task, climbed, bench):
    """A look at half of the images tells the difference to the clean network on the whole."""
    clean, order = clean_scores(task), task.look_order(SEED)
    for rung, recipe in zip(climbed.rungs, RUNGS, strict=True):
        found = bench.validation(recipe)[:64]
        seen = seen_as(Drop(0.03), found, clean[order][:64])
        assert rung.p_value == seen.p_value
        apart = clean[order][:64].mean() - found.mean()
        assert rung.accuracy == pytest.approx(clean.mean() - apart)
    assert len({rung.accuracy for rung in climbed.rungs}) > 1


def test_the_damage_is_that_of_the_pruned_network(climbed, bench, measured):
    assert climbed.damage == pytest.approx(bench.damage((Prune(),), Assess().moments))
    assert (measured.damage, measured.rungs) == (None, ())


def test_retraining_goes_on_from_the_last_rung_as_it_would_without_the_others(task, climbed):
    alone = walked(task, replace(CLIMBING, rungs=()))
    assert climbed.accuracies == alone.accuracies
    assert climbed.accuracies[0] == climbed.rungs[-1].accuracy


def test_the_bill_is_that_of_the_whole_climb(task, climbed, bench):
    trained = [replace(RETRAIN, epochs=0.5), replace(RETRAIN, epochs=1.0)]
    look = Measure(share=0.5)
    amounts = [step for training in trained for step in (training, look)]
    climb = (Prune(), Assess(), look, ALONE, look, REMAP, ALONE, look)
    recipe = (*climb, *amounts[: 2 * len(climbed.accuracies) - 2])
    for length, step in enumerate(recipe, 1):
        if isinstance(step, Assess):
            bench.damage(recipe[:length], step.moments)
        elif isinstance(step, Measure):
            bench.validation(recipe[:length], step.share)
        else:
            bench.network(recipe[:length])
    assert climbed.ee == pytest.approx(bench.spent(recipe).ee)


@pytest.mark.parametrize("until", [Drop(0.6), Drop(0.3), Drop(0.0), Accuracy(0.5), Accuracy(1.0)])
def test_a_repeat_ends_where_the_constraint_surely_holds(task, measured, until):
    clean = clean_scores(task)[task.look_order(SEED)]
    bench = Workbench(
        task,
        ARRAY,
        fault_map(ARRAY, 0.4, cm.Uniform(), seed=SEED, chip=CHIP),
        chip=CHIP,
        seed=SEED,
    )
    recipes = [
        (Prune(), Recalibrate(form=RETRAIN.recalibrate)),
        (Prune(), replace(RETRAIN, epochs=0.5)),
        (Prune(), replace(RETRAIN, epochs=1.5)),
    ]
    sure = [
        place
        for place, recipe in enumerate(recipes, 1)
        if seen_as(until, bench.validation(recipe), clean).p_value <= SURE
    ]
    found = walked(task, replace(ANALYSIS, until=until))
    assert found.accuracies == measured.accuracies[: min(sure, default=3)]
    assert (found.ee < measured.ee) == (len(found.accuracies) < 3)


def test_jobs_are_all_repeats_of_all_rates_in_ascending_order():
    analysis = Analysis(rates=(0.5, 0.1, 0.5), repeats=2)
    rates = [(job.point.rate, job.point.bit_rate, job.number) for job in analysis.jobs()]
    assert rates == [(0.1, 0, 0), (0.1, 0, 1), (0.5, 0, 0), (0.5, 0, 1)]
    assert [job.key for job in analysis.jobs()] == ["0.1/0", "0.1/1", "0.5/0", "0.5/1"]
    assert analysis.rates == (0.1, 0.5)


def test_clustered_faults_are_drawn_clustered(task):
    analysis = Analysis(rates=(0.4,), amounts=(0.0,), spatial=Clustered(), retrain=RETRAIN)
    faults = fault_map(ARRAY, 0.4, Clustered(), seed=SEED, chip=CHIP)
    pruned = pruned_weights(task.model, faults.unusable, ARRAY)
    weights = np.concatenate([p.numpy().ravel() for p in pruned.values()])
    found = walked(task, analysis)
    assert found.effective_rate == pytest.approx(weights.mean())


CODED = (Prune(), Quantize(form=FAQ(), samples=64))
ON_BITS = replace(ANALYSIS, bit_rates=(0.02, 0.2), rates=(), start=CODED, amounts=(0.0, 0.5))


def test_maps_of_both_kinds_of_fault_are_drawn_and_mended_together(task):
    analysis = replace(ON_BITS, rates=(0.1, 0.4), bit_rates=(0.02, 0.2), repeats=1)
    assert [job.key for job in analysis.jobs()] == ["0.1/0.02/0", "0.4/0.2/0"]
    (_, job), clean = analysis.jobs(), clean_scores(task)
    found = trajectory(task, ARRAY, analysis, job, clean=clean, seed=SEED)
    weights = sum(gemm.weight.numel() for gemm in gemms(task.model))
    array = replace(ARRAY, memory=WeightMemory(words=weights))
    faults = analysis.faults(array, job.point, seed=SEED, chip=f"analysis/{job.key}")
    stuck = faults.stuck
    assert found.effective_bit_rate == pytest.approx(stuck.rate)
    assert stuck.rate == pytest.approx(0.2, abs=0.02)
    assert found.effective_rate > 0.3
    chip = Chip(id="a", faults=faults)
    alone = repair(task, chip, array=array, steps=analysis.steps()[:3], seed=SEED)
    assert found.accuracies[0] == pytest.approx(alone.validation_accuracy)


def test_rates_of_stuck_bits_alone_leave_all_pes_whole(task):
    job, clean = ON_BITS.jobs()[0], clean_scores(task)
    found = trajectory(task, ARRAY, ON_BITS, job, clean=clean, seed=SEED)
    assert (found.effective_rate, found.rate, found.bit_rate) == (0, 0, 0.02)
    assert len(found.accuracies) == 2


def test_stuck_bits_are_damage_as_far_as_words_cannot_read_what_they_should(task):
    analysis = replace(ON_BITS, rungs=(CODED,), amounts=(0.0,))
    damages = []
    for job in analysis.jobs():
        found = trajectory(task, ARRAY, analysis, job, clean=clean_scores(task), seed=SEED)
        damages.append(found.damage)
    assert 0 < damages[0] < damages[1]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"amounts": (0.5, 1.0)}, "amounts"),
        ({"amounts": (0.0, 1.0, 0.5)}, "amounts"),
        ({"repeats": 0}, "without repeats"),
        ({"rates": (0.1,), "bit_rates": (0.01, 0.02)}, "1 fault rates and 2 rates of stuck bits"),
        ({"rates": (0.1, 0.2), "bit_rates": (0.02, 0.01)}, "rates of stuck bits of"),
        ({"bit_rates": (0.0,)}, "a fault rate of 0.0 with 0.0"),
        ({"bit_rates": (1.5,)}, "with 1.5"),
        ({"repeats": 0}, "repeats"),
        ({"rates": (0.0, 0.1)}, "rate of 0"),
        ({"rates": (1.1,)}, "rate of 1.1"),
        ({"rates": (-0.1,)}, "rate of -0.1"),
        ({"rates": (math.nan,)}, "rate of nan"),
    ],
)
def test_an_analysis_that_measures_nothing_sensible_is_refused(fields, said):
    with pytest.raises(TableError, match=said):
        Analysis(**fields)


@pytest.mark.parametrize("fields", [{"start": (ALONE,)}, {"rungs": (RUNGS[0], (Prune(), RETRAIN))}])
def test_a_start_or_a_rung_that_trains_or_does_not_prune_is_refused(fields):
    with pytest.raises(PlanError, match="the analysis: a recipe"):
        Analysis(**fields)


def test_a_schedule_under_which_amounts_mean_nothing_on_the_way_is_refused():
    with pytest.raises(TableError, match="decaying"):
        Analysis(retrain=Retrain(schedule=Decaying()))
