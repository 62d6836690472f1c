"""Falls of accuracy against whole passes through the simulator."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from chipmend.network import accuracy
from chipmend.network.integer.network import IntegerNetwork
from chipmend.protect.design import Protection
from chipmend.protect.design.accuracy import fall, fall_of, scored
from chipmend.simulate import BitErrors, UpsetArray
from protect import small
from protect.design.examples import BARE, ERRORS, subject


def batches(count):
    """Samples all of which the network gets clean."""
    inputs, _ = small.samples(count, 9)
    with torch.inference_mode():
        targets = subject().network(inputs).argmax(1)
    return [*zip(inputs.split(64), targets.split(64), strict=True)]


def test_a_fall_is_that_of_the_array_with_upsets():
    found, samples = Protection(replace(BARE, ordinary_bits=2), subject(), ERRORS), batches(256)
    clean = scored(subject().network, samples)
    measured = fall(found, samples, clean, 0.01, seed=3, whole=True)
    network = subject().network
    held = {**{n: c.weight() for n, c in network.codes.items()}, **network.held}
    on = UpsetArray(small.ARRAY, ERRORS, seed=3, guards=found.guards())
    upset = IntegerNetwork(network.lowering, held, network.codes, on)
    with torch.inference_mode():
        hits = [upset(inputs).argmax(1) == targets for inputs, targets in samples]
    lost = clean.astype(float) - torch.cat(hits).numpy()
    assert measured.drop == pytest.approx(lost.mean())
    assert measured.drop > 0.05
    assert measured.error == pytest.approx(lost.std() / np.sqrt(256))
    assert measured.samples == 256
    assert measured.p_value > 0.99


def test_protection_of_all_bits_loses_nothing_worth_speaking_of():
    found, samples = Protection(replace(BARE, ordinary_bits=22), subject(), ERRORS), batches(256)
    clean = scored(subject().network, samples)
    assert abs(fall(found, samples, clean, 0.01, seed=3).drop) < 0.05


def test_it_ends_as_soon_as_it_is_sure():
    samples = batches(4096)
    clean = scored(subject().network, samples)
    bare = Protection(BARE, subject(), ERRORS)
    sure = fall(bare, samples, clean, 0.01, seed=0)
    assert sure.samples == 1024
    assert sure.drop - 4 * sure.error > 0.01
    exact = fall(bare, samples, clean, 0.01, seed=0, whole=True)
    assert exact.samples == 4096
    assert exact.drop == pytest.approx(sure.drop, abs=5 * sure.error)


def test_strict_targets_take_all_the_samples_that_they_need():
    samples = batches(4096)
    clean = scored(subject().network, samples)
    full = Protection(replace(BARE, ordinary_bits=22), subject(), BitErrors(accumulator=1e-7))
    found = fall(full, samples, clean, 0.001, seed=0)
    assert found.drop == 0
    assert found.samples == 4096
    assert found.p_value < 0.05
    assert fall(full, samples, clean, 0.02, seed=0).samples == 1024


def test_drops_are_paired():
    found = fall_of(np.array([1.0, 0, 0, 1]), np.array([1.0, 1, 0, 0]), 0.5)
    assert found.drop == 0
    assert found.right == 0.5
    assert found.error == pytest.approx(np.sqrt(0.5) / 2)


def test_other_metrics_are_scored_alike():
    def doubled(outputs, targets):
        return 2.0 * (outputs.argmax(1) == targets)

    samples, bare = batches(256), Protection(BARE, subject(), ERRORS)
    falls = [
        fall(
            bare,
            samples,
            scored(subject().network, samples, metric),
            0.01,
            seed=0,
            metric=metric,
        )
        for metric in (accuracy, doubled)
    ]
    assert falls[1].drop == pytest.approx(2 * falls[0].drop)
    assert falls[0].drop > 0
