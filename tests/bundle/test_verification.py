"""Bundles verified on their chips; what is compared with what is told apart by breaking it."""

from dataclasses import replace

import pytest
import torch

from bundle.shipped import RECIPES, score_of
from chipmend.bundle import Expected, network_of, read_base, verify
from chipmend.bundle.verification import agreement_of, on_its_chip
from chipmend.errors import BundleError, FaultMapError
from chipmend.faults import FaultMap, StuckBits
from chipmend.network import accuracy

IN_CODES = [name for name in RECIPES if name not in ("float", "pruned")]


def verified(made, task, **how):
    base, digest = read_base(made.base_path)
    bundle = how.pop("bundle", made.bundle)
    chip = how.pop("chip", made.chip)
    return verify(bundle, base, digest, chip, task.test, accuracy, **how)


@pytest.mark.parametrize("name", IN_CODES)
def test_the_chip_does_what_the_campaign_recorded(all_shipped, made_task, name):
    made = all_shipped[name]
    found = verified(made, made_task)
    assert found.holds, found.reason
    assert found.accuracy == found.recorded == made.bench.test(made.recipe).mean()
    assert found.chip == f"chip/{name}"
    assert (found.agreement is None) == (name == "live")
    assert found.agreement is None or found.agreement >= 0.999


def test_live_faults_are_live(all_shipped, made_task):
    made = all_shipped["live"]
    sound = network_of(made.bundle, made.base, made.base_digest)
    assert verified(made, made_task).accuracy < score_of(sound, made_task) - 0.1


def test_codes_are_read_from_the_faulty_memory(all_shipped):
    """What was chosen for the chip's own stuck bits they leave alone, and others do not."""
    made = all_shipped["faq"]
    inputs = torch.rand(20, 1, 6, 6, generator=torch.Generator().manual_seed(0))

    def outputs(stuck):
        chip = replace(made.chip, faults=replace(made.chip.faults, stuck=stuck))
        return on_its_chip(made.repair, made.base, chip)(inputs)

    own = made.chip.faults.stuck
    turned = StuckBits(words=own.words, at=own.at, ones=own.zeros, zeros=own.ones)
    assert torch.equal(outputs(own), outputs(None))
    assert not torch.equal(outputs(turned), outputs(None))


def test_a_promise_that_is_not_kept_is_told(all_shipped, made_task):
    made = all_shipped["faq"]
    for expected, said in (
        (Expected(accuracy=made.bundle.expected.accuracy + 0.01, samples=128), "was recorded"),
        (Expected(accuracy=made.bundle.expected.accuracy, samples=127), "where there were 127"),
    ):
        bundle = replace(made.bundle, expected=expected)
        found = verified(made, made_task, bundle=bundle, runtime=False)
        assert not found.holds
        assert said in found.reason


def test_a_runtime_that_disagrees_is_told(all_shipped, made_task, monkeypatch):
    monkeypatch.setattr("chipmend.bundle.verification.agreement_of", lambda *_: 0.99)
    found = verified(all_shipped["faq"], made_task)
    assert "predicts the same on 99.00 % alone" in found.reason


def test_agreement_is_a_share_of_predictions(all_shipped, made_task):
    made = all_shipped["faq"]
    network = network_of(made.bundle, made.base, made.base_digest)
    assert agreement_of(network, network, made_task.test) >= 0.99

    class Other(torch.nn.Module):
        def forward(self, inputs):
            found = network(inputs)
            found[::2] = found[::2].roll(1, 1)
            return found

    assert agreement_of(network, Other(), made_task.test) == pytest.approx(0.5, abs=0.01)


def test_a_chip_that_it_is_not_for_is_refused(all_shipped, made_task):
    with pytest.raises(BundleError, match="not for chip/remapped"):
        verified(all_shipped["faq"], made_task, chip=all_shipped["remapped"].chip)


def test_a_network_of_real_numbers_has_no_bit_exact_model(all_shipped, made_task):
    with pytest.raises(BundleError, match="a network of real numbers"):
        verified(all_shipped["float"], made_task)


def test_pes_that_are_bypassed_are_those_of_the_chip(all_shipped, made_task, monkeypatch):
    made = all_shipped["faq"]
    faults = FaultMap(rows=6, cols=5, faulty_pes=~made.chip.faults.faulty_pes)
    monkeypatch.setattr(FaultMap, "digest", lambda self: made.bundle.faults)
    with pytest.raises(BundleError, match="bypasses other PEs"):
        verified(made, made_task, chip=replace(made.chip, faults=faults))


def test_a_chip_of_another_array_is_refused(all_shipped, made_task, monkeypatch):
    made = all_shipped["faq"]
    other = FaultMap.of_pes(made.chip.faults.faulty_pes[:2])
    monkeypatch.setattr(FaultMap, "digest", lambda self: made.bundle.faults)
    with pytest.raises(FaultMapError):
        verified(made, made_task, chip=replace(made.chip, faults=other))
