import pytest
import torch
from torch import nn

from chipmend.repairs import norms
from chipmend.repairs.norms import match_, statistics, stored_statistics


def norm_of(channels):
    norm = nn.BatchNorm2d(channels).eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.1, 3)
    return norm


@pytest.mark.parametrize("shape", [(70, 3), (70, 3, 5), (70, 3, 5, 2)])
@pytest.mark.parametrize("at_a_time", [1, 100, norms.IN_CACHE])
def test_statistics_are_those_of_each_channel(shape, at_a_time, monkeypatch):
    monkeypatch.setattr(norms, "IN_CACHE", at_a_time)
    inputs = torch.randn(shape) * 2 + 30
    found = statistics(inputs)
    flat = inputs.double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(found.mean.double(), flat.mean(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(
        found.variance.double(), flat.var(1, correction=0), rtol=1e-5, atol=0
    )


def test_a_matched_norm_gives_out_the_clean_mean_and_variance():
    norm, clean = norm_of(3), torch.randn(50, 3, 4, 4) + 1
    changed = 0.3 * clean + 0.1 * torch.randn_like(clean) - 2
    wanted = statistics(norm(clean))
    match_(norm, stored_statistics(norm), statistics(clean), statistics(changed))
    got = statistics(norm(changed))
    torch.testing.assert_close(got.mean, wanted.mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got.variance, wanted.variance, rtol=1e-3, atol=1e-4)


def test_a_norm_whose_inputs_did_not_change_stays_as_it_is():
    norm, inputs = norm_of(3), torch.randn(50, 3, 4, 4) * 5 - 3  # unlike what the norm has stored
    stored = stored_statistics(norm)
    match_(norm, stored, statistics(inputs), statistics(inputs))
    torch.testing.assert_close(norm.running_mean, stored.mean)
    torch.testing.assert_close(norm.running_var, stored.variance)


@pytest.mark.parametrize("clean_spread", [0.0, 1e-4, 1.0])
@pytest.mark.parametrize("spread", [0.0, 1e-4, 1.0, 100.0])
def test_a_channel_without_spread_keeps_its_mean_and_is_not_blown_up(clean_spread, spread):
    norm, noise = norm_of(2), torch.randn(50, 2, 4, 4)
    clean, now = clean_spread * noise + 1, spread * noise.flip(0) + 2
    wanted = statistics(norm(clean))
    match_(norm, stored_statistics(norm), statistics(clean), statistics(now))
    got = statistics(norm(now))
    assert torch.isfinite(norm.running_var).all()
    torch.testing.assert_close(got.mean, wanted.mean, rtol=0.01, atol=0.05)
    assert (got.variance <= 1.01 * wanted.variance + 1e-2).all()
