import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from chipmend.errors import RepairError
from chipmend.network import TensorSamples
from chipmend.repairs import reestimate_


def network(dtype=torch.float64):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4, momentum=0.3),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(16, 5),
        nn.BatchNorm1d(5, affine=False),
        nn.LayerNorm(5),
    )
    return model.to(dtype)


def samples(count=600, dtype=torch.float64):
    inputs = torch.randn(count, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=dtype)
    return TensorSamples(3 * inputs + 1, torch.zeros(count, dtype=torch.int64))


def modes(model):
    return [module.training for module in model.modules()]


@pytest.mark.parametrize(
    ("count", "sizes"), [(512, [256, 256]), (600, [300, 300]), (100, [100]), (800, [267, 267, 266])]
)
def test_the_statistics_are_torch_s_own_over_the_same_equal_batches(count, sizes):
    split = samples(900)
    indices = torch.randperm(900, generator=torch.Generator().manual_seed(2))[:count]
    model, twin = network().eval(), network()
    twin[3].p = 0.0  # torch's update would drop out
    update_bn([split.inputs[chunk] for chunk in indices.split(sizes)], twin)
    assert reestimate_(model, split, indices) == count
    for (name, found), (_, expected) in zip(
        model.state_dict().items(), twin.state_dict().items(), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12, msg=name)


def test_the_statistics_of_one_batch_are_its_mean_and_unbiased_variance():
    split = samples(50)
    model = network()
    reestimate_(model, split, torch.arange(50))
    with torch.no_grad():
        seen = model[0](split.inputs).movedim(1, 0).flatten(1)
    torch.testing.assert_close(model[1].running_mean, seen.mean(1))
    torch.testing.assert_close(model[1].running_var, seen.var(1))


def test_what_was_stored_before_leaves_no_trace():
    one, other = network(), network()
    with torch.no_grad():
        other[1].running_mean.fill_(1e6)
        other[1].running_var.fill_(float("nan"))
    reestimate_(one, samples(), torch.arange(300))
    reestimate_(other, samples(), torch.arange(300))
    assert one[1].running_var.equal(other[1].running_var)
    assert one[6].running_mean.equal(other[6].running_mean)


def test_dropout_stays_off_and_nothing_is_drawn():
    one, other = network().train(), network().train()
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    reestimate_(one, samples(), torch.arange(256))
    assert torch.random.get_rng_state().equal(before)
    torch.manual_seed(2)
    reestimate_(other, samples(), torch.arange(256))
    assert one[6].running_mean.equal(other[6].running_mean)


def test_modes_momenta_and_weights_are_as_before():
    model = network().train()
    model[1].eval()
    model[3].eval()
    before, kept = modes(model), copy.deepcopy(dict(model.named_parameters()))
    reestimate_(model, samples(), torch.arange(256))
    assert modes(model) == before
    assert (model[1].momentum, model[6].momentum) == (0.3, 0.1)
    for name, parameter in model.named_parameters():
        assert parameter.equal(kept[name])
        assert parameter.grad is None
    model.train()(samples(8).inputs).sum().backward()  # statistics can still be trained on


def test_modes_and_momenta_are_as_before_even_after_an_error():
    model = network().train()
    model[3].eval()
    before = modes(model)
    wrong = TensorSamples(torch.zeros(4, 2, 4, 4, dtype=torch.float64), torch.zeros(4))
    with pytest.raises(RuntimeError, match="channels"):
        reestimate_(model, wrong, torch.arange(4))
    assert modes(model) == before
    assert model[1].momentum == 0.3


@pytest.mark.parametrize(
    "model",
    [
        nn.Linear(16, 2),
        nn.Sequential(nn.Linear(16, 4), nn.LayerNorm(4)),
        nn.Sequential(nn.Linear(16, 4), nn.BatchNorm1d(4, track_running_stats=False)),
    ],
)
def test_a_network_without_stored_statistics_sees_no_sample(model):
    class Unreadable:
        def __len__(self):
            return 4

        def batch(self, indices):
            raise AssertionError

    assert reestimate_(model, Unreadable(), torch.arange(4)) == 0


class Frozen(nn.BatchNorm1d):
    """A norm that stays in eval mode whatever it is told, as detectors have."""

    def train(self, mode=True):
        return super().train(False)


class WithSideExit(nn.Module):
    """A second exit that only training uses."""

    def __init__(self):
        super().__init__()
        self.main, self.side = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.main(x) + (self.side(x) if self.training else 0))


def test_a_norm_that_refuses_to_train_is_recalibrated_and_stays_frozen():
    x = 3 * torch.randn(300, 3, generator=torch.Generator().manual_seed(1)) + 5
    model = nn.Sequential(Frozen(3), nn.Linear(3, 2)).train()
    reestimate_(model, TensorSamples(x, torch.zeros(300)), torch.arange(300))
    torch.testing.assert_close(model[0].running_mean, x.mean(0))
    torch.testing.assert_close(model[0].running_var, x.var(0))
    assert not model[0].training


def test_a_norm_that_no_input_reaches_keeps_its_statistics():
    model = WithSideExit()
    with torch.no_grad():
        model.side.running_mean.fill_(2.0)
        model.side.running_var.fill_(3.0)
        model.side.num_batches_tracked.fill_(7)
    before = {name: value.clone() for name, value in model.side.state_dict().items()}
    x = torch.randn(64, 3) + 5
    reestimate_(model, TensorSamples(x, torch.zeros(64)), torch.arange(64))
    assert all(value.equal(before[name]) for name, value in model.side.state_dict().items())
    torch.testing.assert_close(model.main.running_mean, x.mean(0))


def test_instance_norms_take_the_mean_over_samples_and_batches():
    x = 2 * torch.randn(512, 3, 5, generator=torch.Generator().manual_seed(1)) - 4
    model = nn.Sequential(
        nn.InstanceNorm1d(3, track_running_stats=True), nn.Flatten(), nn.Linear(15, 2)
    )
    assert reestimate_(model, TensorSamples(x, torch.zeros(512)), torch.arange(512)) == 512
    torch.testing.assert_close(model[0].running_mean, x.mean(2).mean(0))
    torch.testing.assert_close(model[0].running_var, x.var(2).mean(0))


def test_a_norm_used_twice_averages_over_both_uses():
    norm = nn.BatchNorm1d(2)
    model = nn.Sequential(norm, nn.Linear(2, 2), norm)
    x = torch.randn(100, 2) + 3
    with torch.no_grad():
        second = model[1](norm(x))  # in training mode, as while recalibrating
        expected = (x.mean(0) + second.mean(0)) / 2
    reestimate_(model, TensorSamples(x, torch.zeros(100)), torch.arange(100))
    torch.testing.assert_close(norm.running_mean, expected)


def test_targets_are_not_looked_at():
    split = samples(300)

    class Unlabelled:
        def __len__(self):
            return 300

        def batch(self, indices):
            return split.inputs[indices], None

    one, other = network(), network()
    assert reestimate_(one, Unlabelled(), torch.arange(300)) == 300
    reestimate_(other, split, torch.arange(300))
    assert one[1].running_mean.equal(other[1].running_mean)


@pytest.mark.parametrize("count", [256, 511, 513, 1000, 65793])
def test_no_batch_is_more_than_one_sample_shorter_than_another(count):
    seen = []

    class Counted:
        def __len__(self):
            return count

        def batch(self, indices):
            seen.append(indices)
            return torch.randn(len(indices), 2), None

    reestimate_(
        nn.Sequential(nn.BatchNorm1d(2)).append(nn.Linear(2, 1)), Counted(), torch.arange(count)
    )
    assert torch.cat(seen).tolist() == list(range(count))
    lengths = {len(indices) for indices in seen}
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= 256


def test_inputs_that_are_not_finite_are_refused():
    split = samples()
    split.inputs[7] = torch.nan
    with pytest.raises(RepairError, match="norm statistics that are not finite"):
        reestimate_(network(), split, torch.arange(600))
