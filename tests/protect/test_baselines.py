from dataclasses import replace

import pytest

from chipmend.protect.baselines import KINDS, SHARES, usual
from chipmend.protect.design import Quantization
from protect import small
from protect.design.examples import BARE
from protect.search.examples import evaluator, measured


def known(design):
    return evaluator().known(design)


def evaluate(design):
    return measured(evaluator().known(design))


def test_the_fewest_bits_that_suffice_are_found():
    every = [evaluate(replace(BARE, ordinary_bits=bits)) for bits in range(23)]
    fewest = next(bits for bits, each in enumerate(every) if each.meets)
    assert 0 < fewest < 22
    found = usual("uniform top bits", small.ARRAY, evaluate, known)
    assert found.design.ordinary_bits == fewest


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_a_design_of_its_kind(kind):
    found = usual(kind, small.ARRAY, evaluate, known, quantizations=[Quantization()]).design
    assert (found.rows, found.cols, found.accumulator_bits) == (4, 3, 22)
    assert bool(found.lanes) == (kind == "dot-product unit alone")
    assert found.sign_extension == (kind == "signs extended alone")
    assert bool(found.ordinary_bits) == (kind in ("full TMR", "uniform top bits"))


def test_where_none_meets_the_targets_the_last_is_told():
    def hopeless(design):
        return replace(evaluate(design), missed=("drop_under_faults",))

    found = usual("uniform top bits", small.ARRAY, hopeless, known)
    assert found.design.ordinary_bits == 22
    assert not found.meets
    found = usual("dot-product unit alone", small.ARRAY, hopeless, known)
    assert found.design.important == 1.0


def test_where_nothing_needs_protection_no_bit_gets_any():
    def generous(design):
        return replace(evaluate(design), missed=())

    found = usual("uniform top bits", small.ARRAY, generous, known)
    assert found.design.ordinary_bits == 0


def test_a_unit_alone_has_the_fewest_lanes_that_are_fast_enough_and_does_no_more_than_it_has_to():
    found = usual("dot-product unit alone", small.ARRAY, evaluate, known)
    assert found.meets
    design, at = found.design, SHARES.index(found.design.important)
    fewer = [lanes for lanes in (1, 2, 4, 8, 12, 16, 20, 24) if lanes < design.lanes]
    assert all("slowdown" in known(replace(design, lanes=lanes)).missed for lanes in fewer)
    less = replace(design, important=SHARES[at - 1], lanes=24)
    assert at == 0 or not evaluate(less).meets


def test_of_quantizations_the_first_that_suffices_is_taken():
    tried = []

    def noted(design):
        tried.append(design)
        return replace(known(replace(BARE)), missed=() if design.shifts == 3 else ("x",))

    ways = [Quantization(), Quantization(2), Quantization(3), Quantization(4)]
    assert usual("quantization alone", small.ARRAY, noted, known, quantizations=ways).meets
    assert [design.shifts for design in tried] == [2, 3]
