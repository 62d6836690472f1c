import copy
import functools
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from chipmend.errors import DataError, MetricError, NetworkError
from chipmend.hardware import Array
from chipmend.network import Task, accuracy
from chipmend.repairs import pruned_weights
from conftest import tiny_network, tiny_split


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))


def split(seed, count=12):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, generator=generator), torch.arange(count).remainder(3)


def task(model=None, **changes):
    given = {"train": split(0), "validation": split(1), "test": split(2), **changes}
    return Task(model or network(), **given)


def doubled():
    return {
        part: (split(seed)[0].double(), split(seed)[1])
        for seed, part in enumerate(("train", "validation", "test"))
    }


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


def test_what_is_no_network_is_refused():
    pair = (torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(NetworkError, match="'x' is no network"):
        Task("x", train=pair, validation=pair, test=pair)


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
        Task(network().double(), **doubled()),
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


def top(places):
    return lambda outputs, targets: (
        (outputs.topk(places).indices == targets[:, None]).any(1).float()
    )


def test_two_metrics_of_one_name_have_different_digests():
    assert task(metric=top(1)).digest() == task(metric=top(1)).digest()
    assert task(metric=top(1)).digest() != task(metric=top(2)).digest()


def test_weights_that_are_not_placed_are_told_of_once(caplog):
    model = nn.Sequential(nn.Linear(2, 4), nn.Unflatten(1, (4, 1)), nn.ConvTranspose1d(4, 3, 1))
    own = task(nn.Sequential(model, nn.Flatten()))
    pruned_weights(own.model, np.zeros((2, 2), bool), Array(rows=2, cols=2))
    (record,) = caplog.records
    assert record.getMessage().endswith("taken to be healthy: 0.2.weight")


@pytest.mark.parametrize("part", ["train", "validation", "test"])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda inputs, targets: (inputs.double(), targets), "Double"),
        (lambda inputs, targets: (inputs[:, :1], targets), "shapes cannot be multiplied"),
        (lambda inputs, targets: (inputs[:, None, None], targets[:, None]), "expected 2D"),
    ],
)
def test_a_split_that_does_not_go_through_the_network_is_refused_by_name(part, wrong, said):
    name = "training" if part == "train" else part
    with pytest.raises(DataError, match=f"(?s){name} split.*{said}"):
        task(**{part: wrong(*split(0))})


def test_a_metric_that_gives_no_score_per_sample_is_refused_at_once():
    with pytest.raises(MetricError, match="one score per sample"):
        task(metric=lambda outputs, targets: accuracy(outputs, targets).mean())


@pytest.mark.parametrize(
    ("targets", "said"),
    [(torch.zeros(12, dtype=torch.int32), "Int"), (torch.full((12,), 3), "out of bounds")],
)
def test_targets_that_the_loss_does_not_take_are_refused(targets, said):
    with pytest.raises(DataError, match=f"(?s)training split.*{said}"):
        task(train=(split(0)[0], targets))


def test_a_dataset_whose_items_are_no_pairs_is_refused():
    with pytest.raises(DataError, match=r"training split.*unpack"):
        task(train=[(torch.zeros(2), 0, 1)] * 3)


def test_trying_the_splits_changes_nothing():
    own = task(network().train())
    assert all(module.training for module in own.model.modules())
    assert own.model[1].num_batches_tracked == 0
    assert own.model[1].running_mean.equal(torch.zeros(4))


def test_layers_without_a_size_yet_are_refused_by_name():
    with pytest.raises(NetworkError, match=r"no size yet: 1\.weight"):
        task(nn.Sequential(nn.Linear(2, 4), nn.LazyBatchNorm1d()))


class WithExtraState(nn.Linear):
    def get_extra_state(self):
        return {"calls": 3}

    def set_extra_state(self, state):
        pass


def test_extra_state_of_a_module_is_no_obstacle():
    assert task(WithExtraState(2, 3)).digest()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_or_statistics_that_are_not_finite_are_refused_by_name(value):
    with pytest.raises(NetworkError, match=r"finite numbers: 2\.weight$|2\.weight\n"):
        task(with_weight(value))
    with pytest.raises(NetworkError, match=r"1\.running_mean"):
        task(with_statistic(value))


def test_a_split_on_which_the_network_gives_no_numbers_is_refused_by_name():
    inputs, targets = split(1)
    with pytest.raises(DataError, match="no finite numbers on the validation split"):
        task(validation=(inputs * torch.nan, targets))


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


def given(calibration):
    return Task(
        tiny_network(),
        train=tiny_split(40, 1),
        validation=tiny_split(10, 2),
        test=tiny_split(10, 3),
        calibration=calibration,
    )


def test_calibration_inputs_of_their_own_are_used_and_are_part_of_the_digest():
    own = tiny_split(30, 7)[0]
    task, usual = given(own), given(None)
    indices = task.calibration(5, seed=3)
    assert task.calibrating.batch(indices)[0].equal(own[indices])
    assert usual.calibrating is usual.train
    assert task.digest() != usual.digest()
    assert task.digest() == given(own.numpy()).digest()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (torch.zeros(15, 1, 6, 6), "15 calibration inputs are too few"),
        (torch.zeros(0, 1, 6, 6), "0 calibration inputs are too few"),
        (torch.full((20, 1, 6, 6), torch.nan), "not finite"),
        (torch.zeros(20, 3, 6, 6), r"calibration inputs of \(3, 6, 6\) do not go through"),
        ("pictures", "the calibration inputs are a str"),
    ],
)
def test_calibration_inputs_that_will_not_do_are_refused_and_it_says_what_will(wrong, said):
    with pytest.raises(DataError, match=said):
        given(wrong)
