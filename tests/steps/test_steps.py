import dataclasses
import math

import pytest
from pydantic import TypeAdapter, ValidationError

from chipmend.errors import PlanError
from chipmend.steps import (
    Anytime,
    Assess,
    ClosedForm,
    Compensate,
    Decaying,
    Distill,
    KeepBetter,
    Labels,
    Magnitude,
    Match,
    Measure,
    OneShot,
    Prune,
    Quantize,
    Recalibrate,
    Reestimate,
    Remap,
    Retrain,
    Sequential,
    Step,
)

STEPS = [Prune, Remap, Recalibrate, Compensate, Quantize, Retrain, KeepBetter, Assess, Measure]
FORMS = [Match, Reestimate, OneShot, Sequential, Magnitude, ClosedForm]
KINDS = [*STEPS, *FORMS, Anytime, Decaying, Labels, Distill]


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


@pytest.mark.parametrize("kind", STEPS)
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
        ({"teacher": Anytime()}, "teacher is Anytime"),
        ({"epochs": 1e308}, "epochs"),
    ],
)
def test_impossible_settings_of_a_retraining_are_refused(wrong, said):
    with pytest.raises(PlanError, match=said):
        Retrain(**wrong)


@pytest.mark.parametrize("kind", [Match, Reestimate, OneShot, Sequential])
@pytest.mark.parametrize("samples", [1, 0, -3, 2.5])
def test_an_impossible_number_of_calibration_samples_is_refused(kind, samples):
    with pytest.raises(PlanError, match=f"{samples} samples are too few"):
        kind(samples=samples)


@pytest.mark.parametrize(
    ("kind", "least"), [(Match, 2), (Reestimate, 2), (OneShot, 16), (Sequential, 16)]
)
def test_so_few_calibration_samples_are_just_enough(kind, least):
    assert kind(samples=least).samples == least
    with pytest.raises(PlanError, match=f"at least {least}"):
        kind(samples=least - 1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: OneShot(places=0), "one_shot: places: 0"),
        (lambda: OneShot(damping=-0.1), "one_shot: damping -0.1"),
        (lambda: Sequential(places=True), "sequential: places: True"),
        (lambda: Sequential(pull=math.nan), "sequential: pull nan"),
        (lambda: Recalibrate(form=Magnitude()), "recalibrate: the form is Magnitude"),
        (lambda: Compensate(form=Match()), "compensate: the form is Match"),
        (lambda: Remap(saliency=OneShot()), "remap: the saliency is OneShot"),
        (lambda: ClosedForm(joint_sweeps=-1), "closed_form: joint_sweeps: -1"),
    ],
)
def test_impossible_settings_of_a_repair_are_refused(wrong, said):
    with pytest.raises(PlanError, match=said):
        wrong()


@pytest.mark.parametrize("share", [0, -0.5, 1.01, math.nan])
def test_an_impossible_share_of_the_validation_split_is_refused(share):
    with pytest.raises(PlanError, match=f"measure: a share of {share}"):
        Measure(share=share)


@pytest.mark.parametrize("wrong", [-0.5, math.nan, math.inf])
def test_an_impossible_averaging_or_weight_decay_is_refused(wrong):
    with pytest.raises(PlanError, match="averaging"):
        Anytime(averaging=wrong)
    with pytest.raises(PlanError, match="weight decay"):
        Retrain(weight_decay=wrong)
    assert (Anytime(averaging=0).averaging, Retrain(weight_decay=0).weight_decay) == (0, 0)


@pytest.mark.parametrize("wrong", [0, -2.0, math.nan, math.inf])
def test_an_impossible_temperature_is_refused(wrong):
    with pytest.raises(PlanError, match=f"distill: a temperature of {wrong}"):
        Distill(temperature=wrong)


def test_the_least_that_makes_sense_is_allowed():
    assert Retrain(epochs=1e-9, learning_rate=1e-9, batch=1).batch == 1
    assert ClosedForm(joint_sweeps=0).joint_sweeps == 0
