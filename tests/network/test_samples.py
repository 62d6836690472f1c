import itertools

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from chipmend.errors import DataError
from chipmend.network.samples import (
    DatasetSamples,
    Samples,
    TensorSamples,
    as_samples,
    batches,
    digest_of_samples,
)

INPUTS = torch.arange(12, dtype=torch.float32).view(6, 2)
TARGETS = torch.tensor([0, 1, 2, 0, 1, 2])


class Squares(Dataset):
    """A map-style data set of plain Python numbers and numpy inputs."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return np.full(3, index, np.float32), index**2


class Own:
    def __len__(self):
        return 2

    def batch(self, indices):
        return INPUTS[indices], TARGETS[indices]


@pytest.mark.parametrize(
    "source",
    [
        (INPUTS, TARGETS),
        [INPUTS, TARGETS],
        (INPUTS.numpy(), TARGETS.numpy()),
        TensorDataset(INPUTS, TARGETS),
        TensorSamples(INPUTS, TARGETS),
    ],
)
def test_every_kind_of_split_gives_the_same_batch(source):
    samples = as_samples(source, "training")
    assert isinstance(samples, Samples)
    assert len(samples) == 6
    inputs, targets = samples.batch(torch.tensor([4, 0, 4]))
    assert inputs.tolist() == [[8.0, 9.0], [0.0, 1.0], [8.0, 9.0]]
    assert targets.tolist() == [1, 0, 1]
    assert (inputs.dtype, targets.dtype) == (torch.float32, torch.int64)


def test_a_dataset_may_hold_arrays_and_python_numbers():
    samples = as_samples(Squares(), "training")
    assert isinstance(samples, DatasetSamples)
    inputs, targets = samples.batch(torch.tensor([3, 1]))
    assert inputs.tolist() == [[3.0] * 3, [1.0] * 3]
    assert targets.tolist() == [9, 1]


def test_a_list_of_two_samples_is_a_dataset_and_no_pair_of_tensors():
    samples = as_samples([(torch.ones(3), 0), (torch.zeros(3), 1)], "test")
    inputs, targets = samples.batch(torch.tensor([1, 0]))
    assert inputs.tolist() == [[0.0] * 3, [1.0] * 3]
    assert targets.tolist() == [1, 0]


def test_samples_of_one_s_own_are_taken_as_they_are():
    own = Own()
    assert as_samples(own, "test") is own


@pytest.mark.parametrize("source", [None, 7, iter([1]), {1, 2}])
def test_what_is_no_split_is_refused_by_name(source):
    with pytest.raises(DataError, match=rf"the validation split is a \w*{type(source).__name__}"):
        as_samples(source, "validation")


@pytest.mark.parametrize("source", [(INPUTS[:0], TARGETS[:0]), TensorDataset(INPUTS[:0]), ()])
def test_an_empty_split_is_refused_by_name(source):
    with pytest.raises(DataError, match="the test split is empty"):
        as_samples(source, "test")


def test_inputs_and_targets_of_unlike_lengths_are_refused():
    with pytest.raises(DataError, match="6 inputs and 5 targets"):
        as_samples((INPUTS, TARGETS[:5]), "training")


@pytest.mark.parametrize("size", [1, 2, 4, 6, 100])
def test_batches_are_all_samples_in_order_and_only_the_last_is_short(size):
    found = list(batches(TensorSamples(INPUTS, TARGETS), size))
    assert torch.cat([x for x, _ in found]).equal(INPUTS)
    assert torch.cat([y for _, y in found]).equal(TARGETS)
    lengths = [len(x) for x, _ in found]
    assert all(length == size for length in lengths[:-1])
    assert len(lengths) == -(-6 // size)


def changed(tensor, index, value):
    copy = tensor.clone()
    copy[index] = value
    return copy


def test_the_digest_changes_with_any_value_type_shape_or_order():
    variants = [
        (INPUTS, TARGETS),
        (changed(INPUTS, (5, 1), 11.000001), TARGETS),
        (changed(INPUTS, (0, 0), -0.0), TARGETS),
        (INPUTS, changed(TARGETS, 3, 1)),
        (INPUTS.double(), TARGETS),
        (INPUTS, TARGETS.int()),
        (INPUTS[:, :, None], TARGETS),
        (INPUTS, TARGETS[:, None]),
        (INPUTS[:5], TARGETS[:5]),
        (INPUTS.flip(0), TARGETS),
        (INPUTS.view(torch.int32), TARGETS),
    ]
    digests = [digest_of_samples(TensorSamples(*variant)) for variant in variants]
    for (i, one), (j, other) in itertools.combinations(enumerate(digests), 2):
        assert one != other, (i, j)


def test_the_digest_is_of_the_content_whatever_holds_it():
    digest = digest_of_samples(TensorSamples(INPUTS, TARGETS))
    strided = torch.stack([INPUTS, INPUTS], dim=-1)[..., 0]
    assert not strided.is_contiguous()
    assert digest_of_samples(TensorSamples(strided, TARGETS.clone())) == digest
    assert digest_of_samples(as_samples(TensorDataset(INPUTS, TARGETS), "test")) == digest


def test_a_digest_reaches_beyond_the_first_batch():
    inputs, targets = torch.zeros(5000, 1), torch.zeros(5000, dtype=torch.int64)
    digest = digest_of_samples(TensorSamples(inputs, targets))
    other = changed(inputs, (4999, 0), 1.0)
    assert digest_of_samples(TensorSamples(other, targets)) != digest


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float64, torch.bool, torch.uint8]
)
def test_inputs_of_any_type_have_a_digest(dtype):
    one = digest_of_samples(TensorSamples(INPUTS.to(dtype), TARGETS))
    other = digest_of_samples(TensorSamples(INPUTS.flip(0).to(dtype), TARGETS))
    assert one != other
    assert one == digest_of_samples(TensorSamples(INPUTS.to(dtype), TARGETS))
