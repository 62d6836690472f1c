"""What designs let through, counted neuron by neuron."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from chipmend.protect.design import Protection
from chipmend.protect.design.costs import areas
from chipmend.protect.design.protection import outvoted, upsets
from chipmend.simulate.flips import BitErrors
from protect.design.examples import BARE, ERRORS, subject

AGAIN = {"important": 0.1, "lanes": 2, "important_bits": 22}


def protection(errors=ERRORS, **given):
    return Protection(replace(BARE, **given), subject(), errors)


def test_two_of_three_copies_have_to_flip():
    rate = 0.2
    both = sum(
        rate ** sum(flips) * (1 - rate) ** (3 - sum(flips))
        for flips in itertools.product((0, 1), repeat=3)
        if sum(flips) >= 2
    )
    assert outvoted(rate) * rate == pytest.approx(both)


def test_bits_are_protected_from_the_highest_down():
    assert protection(ordinary_bits=3).ordinary == range(19, 22)
    assert not protection(ordinary_bits=3).important
    shares = protection(ordinary_bits=3).through
    assert shares[0, :19].tolist() == [1] * 19
    assert shares[0, 19:] == pytest.approx(outvoted(1e-3))
    assert shares[1].tolist() == [1] * 22


def test_where_signs_are_extended_the_highest_bit_is_that_of_the_widest_sum():
    widest = subject().widest
    found = protection(ordinary_bits=3, sign_extension=True)
    assert found.ordinary == range(widest - 3, widest)
    assert found.through[0, widest:].tolist() == [1] * (22 - widest)
    below = protection(ordinary_bits=3, sign_extension=True, bare_bits=2)
    assert below.ordinary == range(widest - 5, widest - 2)
    guards = found.guards()
    for layer in subject().layers:
        assert np.array_equal(guards[layer.name].widths, layer.widths)
    assert protection(ordinary_bits=3).guards()["last.weight"].widths is None


@pytest.mark.parametrize("spread", ["network", "layer"])
@pytest.mark.parametrize("extended", [False, True])
def test_harm_is_that_of_all_neurons_bit_by_bit(spread, extended):
    found = protection(ordinary_bits=2, sign_extension=extended, spread=spread, **AGAIN)
    total = 0.0
    for layer in subject().layers:
        for at in np.ndindex(layer.change.shape):
            kept = (at[2] < layer.widths[at[0]]).mean() if extended else 1
            chosen = int(found.again[layer.name][at[:2]])
            share = found.through[chosen, at[2]] * kept
            total += 1e-3 * layer.change[at] * layer.passes * 4 * share
    assert found.harm() == pytest.approx(total)


def test_the_neurons_that_gain_most_for_their_work_are_computed_again():
    found = protection(ordinary_bits=2, **AGAIN)
    gains = {}
    for layer in subject().layers:
        left = found.through[0] - found.through[1]
        gains[layer.name] = (layer.change * 4 * left).sum(2)
    chosen = np.concatenate([gains[n][m] for n, m in found.again.items()])
    others = np.concatenate([gains[n][~m] for n, m in found.again.items()])
    assert chosen.min() >= others.max()
    work = sum(found.again[la.name].sum() * la.passes for la in subject().layers)
    assert 0.05 * subject().work < work <= 0.1 * subject().work


def test_a_share_of_every_layer_is_that_of_every_layer():
    found = protection(spread="layer", **AGAIN)
    for layer in subject().layers:
        neurons = layer.change[..., 0].size
        assert found.again[layer.name].sum() == pytest.approx(0.1 * neurons, abs=0.5)


def test_more_protection_lets_less_through():
    harms = [protection(ordinary_bits=bits).harm() for bits in range(23)]
    assert harms == sorted(harms, reverse=True)
    assert protection(sign_extension=True).harm() < protection().harm()
    assert protection(**AGAIN).harm() < protection().harm()


def test_lanes_change_nothing_of_what_gets_through():
    one, two = (protection(**{**AGAIN, "lanes": lanes}) for lanes in (1, 2))
    assert one.harm() == two.harm()


def test_of_multipliers_bits_copies_vote_from_the_first_on():
    found = protection(BitErrors(product=1e-3), ordinary_bits=10, **AGAIN)
    assert found.through.shape == (2, 16)
    assert found.through[0, :12].tolist() == [1] * 12
    assert found.through[0, 12:].tolist() == [0] * 4
    assert found.guards()["last.weight"].voted == (12, 0)


def test_whole_cones_go_up_to_the_highest_bit_and_none_are_none():
    errors, widest = BitErrors(product=1e-3), subject().widest
    below = {"sign_extension": True, "bare_bits": 8}
    found = protection(errors, important=0.1, lanes=2, important_bits=2, **below)
    assert found.important == range(widest - 10, 22)
    assert not found.ordinary
    assert found.guards()["last.weight"].voted == (22, widest - 10)
    assert found.through[0].tolist() == [1] * 16
    assert areas(found).array == areas(protection(errors)).array


def test_what_has_no_effect_protects_nothing():
    without_lanes = protection(important=0.5, important_bits=22)
    assert not any(chosen.any() for chosen in without_lanes.again.values())
    assert without_lanes.design == BARE
    assert protection(**{**AGAIN, "lanes": 3}).design.lanes == 4
    widest = subject().widest
    below = protection(sign_extension=True, bare_bits=2, ordinary_bits=22)
    assert below.design.ordinary_bits == widest - 2


def test_codes_in_buffers_leave_the_flips_that_come_in_company():
    errors = BitErrors(accumulator=1e-3, weights=1e-3, activations=2e-3)
    assert upsets(errors, BARE) == errors
    parity, ecc = (upsets(errors, replace(BARE, buffers=b)) for b in ("parity", "ecc"))
    assert parity.accumulator == ecc.accumulator == 1e-3
    assert parity.weights == pytest.approx(1e-3 * (1 - 0.999**8))
    assert ecc.activations == pytest.approx(2e-3 * (1 - 0.998**71))
