import dataclasses
import math

import pytest
from pydantic import TypeAdapter, ValidationError

from chipmend.errors import PlanError
from chipmend.steps import (
    Anytime,
    Decaying,
    Measure,
    Prune,
    Recalibrate,
    Retrain,
    Step,
    check_recipe,
    retrained_epochs,
)

KINDS = [Prune, Recalibrate, Anytime, Decaying, Retrain, Measure]


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_a_plain_frozen_value_that_can_be_a_key(kind):
    step = kind()
    assert step == kind()
    assert {step: 1}[kind()] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        step.kind = "other"


@pytest.mark.parametrize("kind", KINDS)
def test_a_misspelt_field_is_refused_where_a_plan_is_read(kind):
    with pytest.raises(ValidationError, match="misspelt"):
        TypeAdapter(kind).validate_python({"kind": kind().kind, "misspelt": 1})


@pytest.mark.parametrize("kind", [Prune, Recalibrate, Retrain, Measure])
def test_every_step_is_told_by_its_kind(kind):
    assert TypeAdapter(Step).validate_python({"kind": kind().kind}) == kind()


@pytest.mark.parametrize("epochs", [0, -1, math.nan, math.inf])
def test_an_impossible_amount_is_refused(epochs):
    with pytest.raises(PlanError, match="epochs"):
        Retrain(epochs=epochs)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"learning_rate": 0}, "learning rate of 0"),
        ({"learning_rate": math.nan}, "learning rate of nan"),
        ({"learning_rate": math.inf}, "learning rate of inf"),
        ({"batch": 0}, "batch of 0"),
        ({"batch": 2.5}, "batch of 2.5"),
        ({"schedule": "anytime"}, "schedule is 'anytime'"),
        ({"epochs": 1e308}, "epochs"),
    ],
)
def test_impossible_settings_of_a_retraining_are_refused(wrong, said):
    with pytest.raises(PlanError, match=said):
        Retrain(**wrong)


@pytest.mark.parametrize("samples", [1, -3, 2.5])
def test_an_impossible_number_of_calibration_samples_is_refused(samples):
    with pytest.raises(PlanError, match=f"recalibrate: {samples} samples"):
        Recalibrate(samples=samples)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ((), "does not begin with pruning"),
        ((Recalibrate(), Prune()), "does not begin with pruning"),
        ((Prune(), Retrain), "is no step"),
        (("prune",), "'prune' is no step"),
    ],
)
def test_a_recipe_that_is_none_or_would_ship_faulty_weights_is_refused(recipe, said):
    with pytest.raises(PlanError, match=f"mine.*{said}"):
        check_recipe(recipe, "mine")
    check_recipe((Prune(), Measure(), Retrain()), "mine")


@pytest.mark.parametrize("wrong", [-0.5, math.nan, math.inf])
def test_an_impossible_averaging_or_weight_decay_is_refused(wrong):
    with pytest.raises(PlanError, match="averaging"):
        Anytime(averaging=wrong)
    with pytest.raises(PlanError, match="weight decay"):
        Retrain(weight_decay=wrong)
    assert (Anytime(averaging=0).averaging, Retrain(weight_decay=0).weight_decay) == (0, 0)


@pytest.mark.parametrize("samples", [1, 0, -3])
def test_too_few_samples_for_a_variance_are_refused(samples):
    with pytest.raises(PlanError, match="no variance"):
        Recalibrate(samples=samples)


def test_the_least_that_makes_sense_is_allowed():
    assert Recalibrate(samples=2).samples == 2
    assert Retrain(epochs=1e-9, learning_rate=1e-9, batch=1).batch == 1


def test_retrained_epochs_are_summed_and_other_steps_count_nothing():
    recipe = (Prune(), Retrain(epochs=0.5), Measure(), Recalibrate(), Retrain(epochs=1.25))
    assert retrained_epochs(recipe) == 1.75
    assert retrained_epochs(()) == 0
