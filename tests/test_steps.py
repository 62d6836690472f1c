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


@pytest.mark.parametrize("wrong", [{"learning_rate": 0}, {"learning_rate": math.nan}, {"batch": 0}])
def test_impossible_settings_of_a_retraining_are_refused(wrong):
    with pytest.raises(PlanError, match=r"learning rate .*, batch"):
        Retrain(**wrong)


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
