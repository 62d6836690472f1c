import math

import numpy as np
import pytest

import chipmend as cm
from chipmend.errors import TableError
from chipmend.faults import Clustered, fault_map
from chipmend.hardware import Array
from chipmend.repairs import pruned_weights
from chipmend.repairs.chip import repair
from chipmend.resilience import Analysis, trajectory
from chipmend.steps import Decaying, Measure, Prune, Recalibrate, Reestimate, Retrain

ARRAY = Array(rows=8, cols=8)
RETRAIN = Retrain(learning_rate=0.05, batch=32, recalibrate=Reestimate(samples=64))
ANALYSIS = Analysis(rates=(0.4,), amounts=(0.0, 0.5, 1.5), repeats=1, retrain=RETRAIN)
SEED = 3
CHIP = "analysis/0.4/0"


@pytest.fixture(scope="module")
def measured(task):
    return trajectory(task, ARRAY, ANALYSIS, (0.4, 0), seed=SEED)


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
    again = trajectory(task, ARRAY, ANALYSIS, (0.4, 0), seed=SEED)
    assert (again.accuracies, again.ee) == (measured.accuracies, measured.ee)
    other = trajectory(task, ARRAY, ANALYSIS, (0.4, 1), seed=SEED)
    assert other.effective_rate != measured.effective_rate


def test_whoever_listens_hears_the_work_grow_to_the_whole_bill(task, measured):
    told = []
    trajectory(task, ARRAY, ANALYSIS, (0.4, 0), seed=SEED, tick=told.append)
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


def test_jobs_are_all_repeats_of_all_rates_in_ascending_order():
    analysis = Analysis(rates=(0.5, 0.1, 0.5), repeats=2)
    assert analysis.jobs() == [(0.1, 0), (0.1, 1), (0.5, 0), (0.5, 1)]
    assert analysis.rates == (0.1, 0.5)


def test_clustered_faults_are_drawn_clustered(task):
    analysis = Analysis(rates=(0.4,), amounts=(0.0,), spatial=Clustered(), retrain=RETRAIN)
    faults = fault_map(ARRAY, 0.4, Clustered(), seed=SEED, chip=CHIP)
    pruned = pruned_weights(task.model, faults.unusable, ARRAY)
    weights = np.concatenate([p.numpy().ravel() for p in pruned.values()])
    found = trajectory(task, ARRAY, analysis, (0.4, 0), seed=SEED)
    assert found.effective_rate == pytest.approx(weights.mean())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"amounts": (0.5, 1.0)}, "amounts"),
        ({"amounts": (0.0, 1.0, 0.5)}, "amounts"),
        ({"rates": ()}, "without rates"),
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


def test_a_schedule_under_which_amounts_mean_nothing_on_the_way_is_refused():
    with pytest.raises(TableError, match="decaying"):
        Analysis(retrain=Retrain(schedule=Decaying()))
