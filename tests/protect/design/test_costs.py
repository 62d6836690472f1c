"""Areas and cycles, added up by hand."""

import math
from dataclasses import replace

import pytest

from chipmend.protect.circuit import area
from chipmend.protect.design import Protection
from chipmend.protect.design import costs as module
from chipmend.simulate.flips import BitErrors
from protect.design.examples import BARE, ERRORS, subject

PE = {"WEIGHT_BITS": 8, "BITS": 22, "LAST": 22}


def protection(errors=ERRORS, **given):
    return Protection(replace(BARE, **given), subject(), errors)


def costs(found):
    return module.costs(found, protection(found.errors))


def test_unprotected_nothing_is_added():
    found = costs(protection())
    assert found.overhead == 0
    assert found.slowdown == 0
    assert found.power == pytest.approx(1)
    assert found.area.total == pytest.approx(12 * area("pe", FIRST=22, **PE))
    assert found.cycles == subject().cycles


def test_protected_bits_cost_what_pes_with_them_do():
    found = costs(protection(ordinary_bits=5))
    assert found.overhead == pytest.approx(
        12 * (area("pe", FIRST=17, **PE) - area("pe", FIRST=22, **PE))
    )
    assert found.slowdown == 0


def test_ends_and_lanes_are_added():
    found = costs(
        protection(sign_extension=True, important=0.1, lanes=8, important_bits=8, spread="layer")
    )
    widest, end = subject().widest, area("column_end", BITS=22, NARROWEST=subject().narrowest)
    lane = area("lane", WEIGHT_BITS=8, BITS=22, FIRST=widest - 8, LAST=widest)
    assert found.area.ends == pytest.approx(3 * end)
    # eight lanes on arrays of four rows are two columns
    assert found.area.unit == pytest.approx(8 * lane + 2 * (area("dppu_end", BITS=22) + end))


@pytest.mark.parametrize("lanes", [1, 2, 4, 8])
def test_cycles_are_those_of_the_slower_of_array_and_unit(lanes):
    found = protection(important=0.3, lanes=lanes, important_bits=22)
    total = working = 0
    for layer in subject().layers:
        neurons, columns = int(found.again[layer.name].sum()), math.ceil(lanes / 4)
        turns = math.ceil(4 / (lanes / columns))
        unit = math.ceil(neurons * layer.passes / columns) * turns + 4 if neurons else 0
        total, working = total + max(layer.cycles, unit), working + unit
    assert costs(found).cycles == total
    assert costs(found).load == pytest.approx(working / total)


def test_codes_in_buffers_cost_an_eighth_more_bits_and_what_checks_them():
    weights, activations = subject().weights, subject().activations
    parity = costs(protection(buffers="parity")).overhead
    assert parity == pytest.approx(6 * (weights + activations) + 7 * area("parity"))
    ecc = costs(protection(buffers="ecc")).overhead
    assert ecc == pytest.approx(6 * (weights + activations) + 2 * area("ecc"))


def test_whole_cones_cost_far_more():
    errors = BitErrors(product=1e-3)
    cone, adders = costs(protection(errors, ordinary_bits=4)), costs(protection(ordinary_bits=4))
    assert cone.overhead > 8 * adders.overhead
    assert costs(protection(errors)).overhead == 0
