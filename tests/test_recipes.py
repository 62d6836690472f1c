import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.errors import PlanError
from chipmend.recipes import (
    BYPASS,
    ahead_of_retraining,
    amount_steps,
    check_leads_to,
    check_recipe,
    check_start,
    is_patched,
    is_quantized,
    mapping_of,
    merged,
    ready_to_ship,
    retrained_epochs,
    steps_toward,
    unpruned,
)
from chipmend.steps import (
    FAQ,
    Anytime,
    Assess,
    Compensate,
    Decaying,
    Distill,
    KeepBetter,
    Magnitude,
    Match,
    Measure,
    OneShot,
    Patch,
    Prune,
    Quantize,
    Recalibrate,
    Reestimate,
    Remap,
    Retrain,
    Sequential,
    SequentialFAQ,
)

BATCH = 32
NORMS = Reestimate(samples=48)
CALIBRATION = Recalibrate(form=NORMS)
MATCHED = Recalibrate(form=Match(samples=40))
ALONE = OneShot(samples=60, places=200)
SEQUENTIAL = Sequential(samples=50, places=150)
REMAP = Remap(saliency=Magnitude())


def some(epochs, **more):
    return Retrain(epochs=epochs, batch=BATCH, learning_rate=0.05, recalibrate=NORMS, **more)


def decaying(epochs):
    return some(epochs, schedule=Decaying())


# what is allowed


def test_channels_may_change_places_before_pruning_and_between_compensations():
    check_recipe((Remap(), Prune(), Compensate()), "mine")
    check_recipe((Prune(), Compensate(), Remap(), Compensate(), Retrain()), "mine")


@pytest.mark.parametrize("step", [Remap(), Compensate()])
def test_what_would_undo_a_retraining_is_refused(step):
    with pytest.raises(PlanError, match=f"mine: {step.kind} after retraining would undo it"):
        check_recipe((Prune(), Retrain(), step), "mine")


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ((), "does not begin with pruning"),
        ((Recalibrate(), Prune()), "does not begin with pruning"),
        ((Prune(), Retrain), "is no step"),
        (("prune",), "'prune' is no step"),
        (Prune(), "is a single prune"),
    ],
)
def test_a_recipe_that_is_none_or_would_ship_faulty_weights_is_refused(recipe, said):
    with pytest.raises(PlanError, match=f"mine.*{said}"):
        check_recipe(recipe, "mine")
    check_recipe((Prune(), Measure(), Retrain()), "mine")


@pytest.mark.parametrize("recipe", [(Prune(), KeepBetter()), (Prune(), KeepBetter(), Retrain())])
def test_nothing_better_can_be_kept_where_nothing_was_retrained(recipe):
    with pytest.raises(PlanError, match="mine: keep_better has no retraining before it"):
        check_recipe(recipe, "mine")
    check_recipe((Prune(), Retrain(), Measure(), KeepBetter(), Retrain()), "mine")


def test_a_start_is_a_recipe_that_trains_nothing():
    check_start((Remap(), Prune(), Compensate(), MATCHED), "mine")
    with pytest.raises(PlanError, match="mine trains already"):
        check_start((Prune(), Retrain()), "mine")
    with pytest.raises(PlanError, match="mine does not begin with pruning"):
        check_start((MATCHED,), "mine")


# what recipes come to


def test_retrained_epochs_are_summed_and_other_steps_count_nothing():
    recipe = (Prune(), Retrain(epochs=0.5), Measure(), Recalibrate(), Retrain(epochs=1.25))
    assert retrained_epochs(recipe) == 1.75
    assert retrained_epochs(()) == 0


def test_the_mapping_that_counts_is_the_last_one():
    assert mapping_of((REMAP, Prune(), Compensate(), Remap(), Compensate())) == (Remap(),)
    assert mapping_of((Prune(), Compensate())) == ()


def test_looks_and_assessments_do_nothing_and_the_empty_recipe_stays_empty():
    assert merged(()) == ()
    assert merged((Measure(),)) == ()
    assert merged((Measure(), Prune(), Assess(), CALIBRATION)) == (Prune(), CALIBRATION)


def test_anytime_retrainings_in_a_row_are_one_of_their_sum():
    assert merged((some(0.1), Measure(), some(0.2), some(0.3))) == (some(0.6),)
    assert merged((Prune(), some(1), Measure(), some(1))) == (Prune(), some(2.0))


@pytest.mark.parametrize(
    "other",
    [
        some(1, weight_decay=0.5),
        some(1, schedule=Anytime(averaging=2)),
        some(1, teacher=Distill()),
        Retrain(epochs=1, batch=BATCH, learning_rate=0.06, recalibrate=NORMS),
        Retrain(epochs=1, batch=BATCH, learning_rate=0.05, recalibrate=Reestimate(samples=47)),
        decaying(1),
    ],
)
def test_retrainings_of_other_settings_stay_two(other):
    assert merged((some(1), other)) == (some(1), other)
    assert merged((other, some(1))) == (other, some(1))


def test_decaying_retrainings_never_become_one():
    assert merged((decaying(1), decaying(1))) == (decaying(1), decaying(1))


def test_recalibrations_before_a_retraining_leave_no_trace_and_after_it_stay():
    recipe = (Prune(), CALIBRATION, Measure(), CALIBRATION, some(1), CALIBRATION)
    assert merged(recipe) == (Prune(), some(1), CALIBRATION)
    assert merged((some(1), CALIBRATION, some(1))) == (some(2.0),)


def test_compensation_sets_every_weight_anew():
    one, other = Compensate(form=ALONE), Compensate(form=SEQUENTIAL)
    assert merged((Prune(), one, CALIBRATION, other)) == (Prune(), other)
    assert merged((Prune(), one, some(1))) == (Prune(), one, some(1))


def test_a_mapping_begins_anew_wherever_it_stands_and_the_last_one_counts():
    one = Compensate(form=ALONE)
    assert merged((Prune(), one, Remap())) == (Remap(), Prune())
    assert merged((REMAP, Prune(), one, Remap(), one)) == (Remap(), Prune(), one)


def test_pruning_or_a_choice_between_retrainings_keeps_them_apart():
    assert merged((some(1), Prune(), some(1))) == (some(1), Prune(), some(1))
    assert merged((some(1), KeepBetter(), some(1))) == (some(1), KeepBetter(), some(1))


steps = st.one_of(
    st.just(Prune()),
    st.just(CALIBRATION),
    st.just(Measure()),
    st.sampled_from([some(0.25), some(0.5), decaying(0.5)]),
)


@settings(deadline=None)
@given(st.lists(steps, max_size=8).map(tuple))
def test_merging_twice_is_merging_once_and_keeps_the_amount(recipe):
    once = merged(recipe)
    assert merged(once) == once
    assert merged((*once, Measure())) == once

    def amount(of):
        return sum(step.epochs for step in of if isinstance(step, Retrain))

    assert amount(once) == amount(recipe)


def test_ahead_of_the_last_retraining_norms_are_corrected_if_no_step_did_so():
    begun, NORMS = (Prune(), Compensate()), some(1).recalibrate
    assert ahead_of_retraining((*begun, some(1), MATCHED)) == begun
    assert ahead_of_retraining((Prune(), some(1), KeepBetter())) == (
        Prune(),
        Recalibrate(form=NORMS),
    )
    twice = (*begun, some(1), KeepBetter(), decaying(1), Measure())
    assert ahead_of_retraining(twice) == (*begun, some(1), KeepBetter())


@pytest.mark.parametrize(
    ("done", "wanted"),
    [
        ((Prune(), Compensate()), (Prune(), Recalibrate())),
        ((Prune(), Recalibrate()), (Prune(),)),
        ((Remap(), Prune()), (Prune(), Compensate())),
        ((Prune(),), (Prune(),)),
    ],
)
def test_what_would_have_to_be_undone_cannot_be_come_to(done, wanted):
    with pytest.raises(PlanError, match="mine cannot be come to from one before it"):
        check_leads_to(done, wanted, "mine")


@pytest.mark.parametrize(
    ("done", "wanted"),
    [
        ((Prune(),), (Prune(), Compensate())),
        ((Prune(), Recalibrate()), (Remap(), Prune(), Compensate())),
        ((Remap(), Prune(), Compensate(form=OneShot())), (Remap(), Prune(), Compensate())),
    ],
)
def test_what_comes_on_top_can_be_come_to(done, wanted):
    check_leads_to(done, wanted, "mine")
    assert merged((*done, *steps_toward(done, wanted))) == merged(wanted)


@pytest.mark.parametrize("own", [MATCHED, Compensate(form=ALONE), Compensate(form=SEQUENTIAL)])
def test_a_start_ships_as_it_is_if_a_step_of_it_corrects_norms(own):
    assert ready_to_ship((Prune(), own), NORMS) == (Prune(), own)


def test_a_start_that_corrects_no_norms_has_them_corrected_before_it_ships():
    assert ready_to_ship(BYPASS, NORMS) == (Prune(), CALIBRATION)
    assert ready_to_ship((REMAP, Prune()), NORMS) == (REMAP, Prune(), CALIBRATION)


def test_an_amount_is_retrained_in_one_go_after_the_start():
    start = (REMAP, Prune(), Compensate(form=ALONE))
    assert amount_steps(0.75, some(9)) == (Prune(), some(0.75))
    assert amount_steps(0.75, some(9), start) == (*start, some(0.75))


def test_no_amount_is_a_start_that_is_ready_to_ship():
    start = (REMAP, Prune(), Compensate(form=ALONE))
    assert amount_steps(0.0, some(9)) == (Prune(), CALIBRATION)
    assert amount_steps(0.0, some(9), start) == start


STARTS = [
    (),
    BYPASS,
    (Prune(), MATCHED),
    (Prune(), Compensate(form=SEQUENTIAL), MATCHED),
    (Prune(), Compensate(form=ALONE)),
    (Prune(), Compensate(form=SEQUENTIAL)),
    (REMAP, Prune()),
    (REMAP, Prune(), Compensate(form=ALONE)),
    (Remap(), Prune(), MATCHED),
    (Remap(), Prune(), Compensate(form=SEQUENTIAL)),
]


@pytest.mark.parametrize(("done", "wanted"), list(itertools.combinations(STARTS, 2)))
def test_what_is_left_to_do_leads_to_the_recipe_that_is_wanted(done, wanted):
    done = (*done, Measure())
    assert merged((*done, *steps_toward(done, wanted))) == merged(wanted)


def test_nothing_is_left_of_what_was_done_already():
    done = (Prune(), Assess(), CALIBRATION, Compensate(form=ALONE), Measure())
    assert steps_toward(done, (Prune(), Compensate(form=ALONE))) == ()


def test_neither_pruning_nor_the_mapping_in_effect_is_repeated():
    one, other = Compensate(form=ALONE), Compensate(form=SEQUENTIAL)
    assert steps_toward((Prune(), one), (Prune(), other)) == (other,)
    assert steps_toward((Prune(), one), (REMAP, Prune(), one)) == (REMAP, one)
    assert steps_toward((Prune(), REMAP, one), (REMAP, Prune(), other)) == (other,)
    assert steps_toward((Prune(), REMAP, one), (Remap(), Prune(), one)) == (Remap(), one)


def test_matching_moves_biases_so_it_stays_until_norms_are_matched_again():
    assert merged((Prune(), MATCHED, some(1))) == (Prune(), MATCHED, some(1))
    assert merged((Prune(), MATCHED, CALIBRATION)) == (Prune(), MATCHED, CALIBRATION)
    assert merged((Prune(), CALIBRATION, MATCHED)) == (Prune(), MATCHED)
    assert merged((Prune(), MATCHED, MATCHED)) == (Prune(), MATCHED)


FIRST, SECOND = Quantize(form=FAQ()), Quantize()


@pytest.mark.parametrize(
    ("recipe", "comes_to"),
    [
        ((Prune(), FIRST, SECOND), (Prune(), SECOND)),
        ((Prune(), FIRST, Recalibrate(), SECOND), (Prune(), SECOND)),
        ((Prune(), FIRST, Measure(), Recalibrate()), (Prune(), FIRST, Recalibrate())),
        ((Prune(), FIRST, Recalibrate(), Compensate()), (Prune(), Compensate())),
        ((Prune(), FIRST, Remap(), SECOND), (Remap(), Prune(), SECOND)),
        ((Prune(), Recalibrate(), FIRST), (Prune(), Recalibrate(), FIRST)),
    ],
)
def test_codes_are_chosen_anew_for_the_weights_before_them(recipe, comes_to):
    assert merged(recipe) == comes_to


def test_a_network_is_of_integers_once_codes_are_chosen_and_until_weights_are_set_anew():
    assert is_quantized((Prune(), FIRST, Recalibrate()))
    assert not is_quantized((Prune(), FIRST, Compensate()))
    assert not is_quantized(BYPASS)


def test_codes_are_chosen_before_or_after_retraining_but_not_again_after_it():
    check_recipe((Prune(), Retrain(), FIRST), "the recipe")
    check_recipe((Prune(), FIRST, Recalibrate(), SECOND, Retrain()), "the recipe")
    with pytest.raises(PlanError, match="quantize after retraining would undo it"):
        check_recipe((Prune(), FIRST, Retrain(), SECOND), "the recipe")


def test_a_prune_at_the_end_can_be_left_out():
    assert unpruned((Remap(), Prune())) == (Remap(),)
    assert unpruned((Prune(), Compensate())) == (Prune(), Compensate())
    assert unpruned(()) == ()


IN_STREAM = Quantize(form=SequentialFAQ())


def test_sequential_codes_leave_no_trace_of_what_was_repaired_before():
    recipe = (Prune(), Compensate(), Recalibrate(), FIRST, Recalibrate(), IN_STREAM)
    assert merged(recipe) == (Prune(), IN_STREAM)
    assert steps_toward((Prune(), FIRST, Recalibrate()), (Prune(), IN_STREAM)) == (IN_STREAM,)


@pytest.mark.parametrize(("form", "left"), [(SECOND, ()), (IN_STREAM, ()), (FIRST, (Recalibrate,))])
def test_codes_that_are_made_up_for_have_their_norms_corrected(form, left):
    found = ready_to_ship((Prune(), form), Reestimate())
    assert tuple(map(type, found[2:])) == left


def test_codes_that_what_follows_sets_anew_are_refused():
    for after in (Compensate(), Remap()):
        with pytest.raises(PlanError, match="sets the weights anew once codes are chosen"):
            check_recipe((Prune(), FIRST, after), "a recipe")
    check_recipe((Remap(), Prune(), Compensate(), FIRST), "a recipe")


def test_sequential_codes_after_retraining_are_refused_as_other_codes_are_not():
    trained = (Prune(), Retrain())
    check_recipe((*trained, FIRST), "a recipe")
    with pytest.raises(PlanError, match="quantize after retraining would undo it"):
        check_recipe((*trained, IN_STREAM), "a recipe")


def test_only_retraining_goes_on_from_a_patched_network():
    patch, trained = Patch(bundle="b"), (Retrain(epochs=0.5), Measure(), Retrain(epochs=0.25))
    on = (patch, Measure(), *trained)
    assert merged((Prune(), Compensate(), *on)) == (patch, Retrain(epochs=0.75))
    assert is_patched(on)
    assert not is_quantized(on)
    assert is_quantized((Patch(bundle="b", in_codes=True), *trained))
    for step in (Prune(), Remap(), Compensate(), Recalibrate()):
        for before in ((patch,), on):
            assert merged((*before, step)) == (step,)
            assert not is_patched((*before, step))
