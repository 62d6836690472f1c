"""What a design comes to, and which targets it misses."""

from dataclasses import replace

import numpy as np
import pytest

from chipmend.errors import ConstraintError
from chipmend.protect.design import Quantization, Targets, Variant
from protect import small
from protect.design.examples import BARE, subject
from protect.search.examples import evaluator


def with_samples(**given):
    """Where the network without flips is always right."""
    inputs, _ = small.samples(256, 11)
    batches = [(inputs, small.network()(inputs).argmax(1))]
    return replace(evaluator(**given), batches=batches, clean=np.ones(256))


@pytest.mark.parametrize(
    "given",
    [
        {"drop_under_faults": 0.0},
        {"drop_under_faults": 1.0},
        {"drop_without_faults": -0.1},
        {"slowdown": float("nan")},
        {"slowdown": float("inf")},
        {"confidence": 1.0},
        {"confidence": 0.0},
    ],
)
def test_targets_that_are_no_such_numbers_are_refused(given):
    (name,) = given
    with pytest.raises(ConstraintError, match=f"targets.{name} is"):
        Targets(**given)


def test_slow_designs_and_those_that_lose_too_much_without_flips_are_known_before():
    again = replace(BARE, important=0.1, lanes=1, important_bits=22)
    found = evaluator(targets=Targets(slowdown=0.01))
    assert found.known(BARE).missed == ()
    assert found.known(again).missed == ("slowdown",)
    poor = Variant(subject=subject(), lost=0.01)
    lossy = replace(found, variants={(4, 3, Quantization()): poor})
    assert lossy.known(again).missed == ("drop_without_faults", "slowdown")
    assert lossy.known(BARE).lost == 0.01


def test_a_design_meets_the_drop_only_if_that_is_sure():
    targets = Targets(drop_under_faults=0.05, slowdown=0.5)
    found = with_samples(targets=targets)
    bare, full = found(BARE), found(replace(BARE, ordinary_bits=22))
    assert bare.missed == ("drop_under_faults",)
    assert full.meets
    assert full.fall.drop < 0.05 < bare.fall.drop
    unsure = with_samples(targets=replace(targets, drop_under_faults=full.fall.drop + 1e-4))
    assert unsure(replace(BARE, ordinary_bits=22)).missed == ("drop_under_faults",)


def test_accumulators_hold_sums_or_do_not():
    widest = subject().widest
    assert evaluator().fits(replace(BARE, accumulator_bits=widest))
    assert not evaluator().fits(replace(BARE, accumulator_bits=widest - 1))
