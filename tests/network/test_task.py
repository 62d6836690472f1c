import copy
import functools
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from chipmend.errors import DataError, NetworkError
from chipmend.network import Task, accuracy


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))


def split(seed, count=12):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, generator=generator), torch.arange(count).remainder(3)


def task(model=None, **changes):
    given = {"train": split(0), "validation": split(1), "test": split(2), **changes}
    return Task(model or network(), **given)


def one_more(outputs, targets):
    return accuracy(outputs, targets) + 1


class Focal:
    def __call__(self, outputs, targets):
        return cross_entropy(outputs, targets)


def test_the_user_s_network_is_copied_and_never_changed():
    model = network()
    model[1].eval()
    before = copy.deepcopy(model)
    own = task(model)
    with torch.no_grad():
        own.model[0].weight.zero_()
        own.fresh_network()[2].weight.fill_(7)
    assert model[0].weight.equal(before[0].weight)
    assert own.model[2].weight.equal(before[2].weight)
    assert [m.training for m in model.modules()] == [m.training for m in before.modules()]


def test_fresh_networks_share_nothing():
    own = task()
    one, other = own.fresh_network(), own.fresh_network()
    kept = {t.data_ptr() for net in (own.model, one, other) for t in net.state_dict().values()}
    assert len(kept) == 3 * len(own.model.state_dict())


def test_calibration_takes_distinct_training_samples_and_no_more_than_there_are():
    own = task()
    some = own.calibration(5, seed=3).tolist()
    assert len(set(some)) == 5
    assert set(some) <= set(range(12))
    assert sorted(own.calibration(99, seed=3).tolist()) == list(range(12))
    assert own.calibration(99, seed=3).tolist()[:5] == some
    assert own.calibration(99, seed=4).tolist() != own.calibration(99, seed=3).tolist()


def with_weight(value):
    model = network()
    with torch.no_grad():
        model[2].weight[0, 0] = value
    return model


def with_statistic(value):
    model = network()
    model[1].running_mean[0] = value
    return model


def test_the_digest_changes_with_whatever_results_depend_on():
    variants = [
        task(),
        task(with_weight(0.25)),
        task(with_statistic(0.25)),
        task(network().double()),
        task(nn.Sequential(*network(), nn.ReLU())),
        task(train=split(3)),
        task(validation=split(3)),
        task(test=split(3)),
        task(metric=one_more),
        task(loss=nn.functional.multi_margin_loss),
        task(loss=Focal()),
    ]
    assert len({variant.digest() for variant in variants}) == len(variants)


def test_the_digest_is_of_the_content():
    assert task().digest() == task().digest()
    assert task(loss=Focal()).digest() == task(loss=Focal()).digest()
    assert task(validation=split(1)).digest() == task().digest()


def test_the_digest_is_the_same_in_another_process():
    code = (
        "import torch; from torch import nn; from chipmend.network import Task;"
        "m = nn.Linear(2, 2);"
        "[nn.init.constant_(p, 0.5) for p in m.parameters()];"
        "s = (torch.ones(3, 2), torch.tensor([0, 1, 0]));"
        "print(Task(m, train=s, validation=s, test=s).digest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    model = nn.Linear(2, 2)
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.5)
    own = (torch.ones(3, 2), torch.tensor([0, 1, 0]))
    assert done.stdout.strip() == Task(model, train=own, validation=own, test=own).digest()


def test_a_network_in_half_precision_has_a_digest():
    assert task(network().bfloat16()).digest() != task(network().half()).digest()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_or_statistics_that_are_not_finite_are_refused_by_name(value):
    with pytest.raises(NetworkError, match=r"finite numbers: 2\.weight$|2\.weight\n"):
        task(with_weight(value))
    with pytest.raises(NetworkError, match=r"1\.running_mean"):
        task(with_statistic(value))


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(NetworkError, match=f"there is no device '{device}'"):
        task(device=device)


def test_a_network_without_a_layer_for_the_array_is_refused():
    with pytest.raises(NetworkError, match="no layer"):
        task(nn.ReLU())


@pytest.mark.parametrize(
    ("part", "name"), [("train", "training"), ("validation", "validation"), ("test", "test")]
)
def test_a_split_that_is_none_is_refused_by_name(part, name):
    with pytest.raises(DataError, match=f"the {name} split"):
        task(**{part: 5})
    with pytest.raises(DataError, match=f"the {name} split is empty"):
        task(**{part: split(0, count=0)})


@pytest.mark.parametrize(
    "losses",
    [
        (nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.1)),
        (
            functools.partial(nn.functional.cross_entropy, label_smoothing=0.1),
            functools.partial(nn.functional.cross_entropy, label_smoothing=0.2),
        ),
    ],
)
def test_the_settings_of_a_loss_are_part_of_the_digest(losses):
    network = nn.Linear(2, 2)
    split = (torch.zeros(4, 2), torch.zeros(4, dtype=torch.long))
    first, second, again = (
        Task(network, train=split, validation=split, test=split, loss=loss).digest()
        for loss in (*losses, losses[0])
    )
    assert first == again != second
