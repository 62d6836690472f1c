from dataclasses import replace

import pytest

from chipmend.protect.baselines import KINDS, usual
from chipmend.protect.design import Quantization
from protect import small
from protect.search.examples import evaluator, measured


def evaluate(design):
    return measured(evaluator().known(design))


def test_the_fewest_bits_that_suffice_are_found():
    from protect.design.examples import BARE

    every = [evaluate(replace(BARE, ordinary_bits=bits)) for bits in range(23)]
    fewest = next(bits for bits, each in enumerate(every) if each.meets)
    assert 0 < fewest < 22
    found = usual("uniform top bits", small.ARRAY, evaluate, quantizations=[Quantization()])
    assert found.design.ordinary_bits == fewest


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_a_design_of_its_kind(kind):
    found = usual(kind, small.ARRAY, evaluate, quantizations=[Quantization()]).design
    assert (found.rows, found.cols, found.accumulator_bits) == (4, 3, 22)
    assert bool(found.lanes) == (kind == "dot-product unit alone")
    assert found.sign_extension == (kind == "signs extended alone")
    assert bool(found.ordinary_bits) == (kind in ("full TMR", "uniform top bits"))


def test_where_none_meets_the_targets_the_last_is_told():
    def hopeless(design):
        return replace(evaluate(design), missed=("drop_under_faults",))

    found = usual("uniform top bits", small.ARRAY, hopeless, quantizations=[Quantization()])
    assert found.design.ordinary_bits == 22
    assert not found.meets
    assert (
        usual(
            "dot-product unit alone", small.ARRAY, hopeless, quantizations=[Quantization()]
        ).design.important
        == 1.0
    )


def test_where_nothing_needs_protection_no_bit_gets_any():
    def generous(design):
        return replace(evaluate(design), missed=())

    assert (
        usual(
            "uniform top bits", small.ARRAY, generous, quantizations=[Quantization()]
        ).design.ordinary_bits
        == 0
    )
