"""What reports are told of a chip, counted by hand."""

from dataclasses import replace

import numpy as np
import pytest

from campaigns import ARRAY, chips
from chipmend.fleet.facts import PICTURES, facts_of

LOT = [
    replace(
        chip,
        lot="A",
        wafer="3",
        x=at,
        y=2 * at,
        faults=replace(
            chip.faults,
            version=at + 1,
            provenance=replace(chip.faults.provenance, tester_seconds=0.5 * at),
        ),
    )
    for at, chip in enumerate(chips())
]
PER_PE = np.random.default_rng(0).integers(1, 9, (ARRAY.rows, ARRAY.cols))


def told(lot=LOT, broken=None):
    return facts_of(lot, PER_PE, None, broken or {})


def test_rates_are_of_pes_and_of_weights():
    for chip, facts in zip(LOT, told(), strict=True):
        places = np.argwhere(chip.faults.unusable).tolist()
        assert facts.fault_rate == pytest.approx(len(places) / PER_PE.size)
        weights = sum(int(PER_PE[row, col]) for row, col in places)
        assert facts.effective_rate == pytest.approx(weights / int(PER_PE.sum()))


def test_who_a_chip_is_is_carried_through():
    for at, (chip, facts) in enumerate(zip(LOT, told(), strict=True)):
        assert (facts.chip, facts.lot, facts.wafer) == (chip.id, "A", "3")
        assert (facts.x, facts.y) == (at, 2 * at)
        assert (facts.version, facts.tester_seconds) == (at + 1, 0.5 * at)


def test_what_was_missed_is_known_only_where_the_truth_is():
    chip = LOT[0]
    more = chip.faults.faulty_pes.copy()
    sound = np.argwhere(~chip.faults.unusable)[:3]
    more[tuple(sound.T)] = True
    broken = {chip.id: replace(chip.faults, faulty_pes=more)}
    first, *others = told(broken=broken)
    assert first.missed_rate == pytest.approx(3 / PER_PE.size)
    assert all(facts.missed_rate is None for facts in others)


def test_the_first_chips_alone_have_pictures():
    many = [replace(LOT[0], id=f"c{at}") for at in range(PICTURES + 2)]
    assert [bool(facts.picture) for facts in told(many)] == [True] * PICTURES + [False] * 2
