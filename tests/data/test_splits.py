import hashlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.data import held_out
from chipmend.errors import DataError


@settings(deadline=None)
@given(st.integers(2, 200), st.data(), st.integers(0, 50))
def test_every_sample_is_in_one_of_the_two(count, data, seed):
    validation = data.draw(st.integers(1, count - 1))
    train, held = held_out(count, validation, seed)
    assert len(held) == validation
    assert sorted(train.tolist() + held.tolist()) == list(range(count))
    for indices in (train, held):
        assert indices.tolist() == sorted(indices.tolist())
        assert indices.dtype == torch.int64


@pytest.mark.parametrize("validation", [-3, 0, 10, 20])
def test_a_split_without_training_or_validation_samples_is_refused(validation):
    with pytest.raises(DataError, match=f"{validation} of 10 samples cannot be held out"):
        held_out(10, validation)


def test_what_is_held_out_is_ranked_by_the_digests_that_the_definition_says():
    def rank(index):
        return hashlib.blake2b(f"0/validation split/{index}".encode(), digest_size=8).hexdigest()

    _, held = held_out(60000, 5000)
    assert held.tolist() == sorted(sorted(range(60000), key=rank)[:5000])


def test_the_validation_split_is_cut_once_and_for_all():
    _, held = held_out(60000, 5000)
    assert held[:8].tolist() == [13, 20, 42, 52, 71, 86, 88, 110]
    text = ",".join(map(str, held.tolist()))
    assert hashlib.md5(text.encode()).hexdigest() == "b6daac18e46d7e99969749116038f136"


@pytest.mark.parametrize("seed", [1, 2])
def test_another_seed_cuts_another_set(seed):
    _, one = held_out(1000, 100)
    _, other = held_out(1000, 100, seed)
    assert one.tolist() != other.tolist()


def test_what_is_held_out_comes_from_everywhere():
    _, held = held_out(60000, 5000)
    in_tenths = torch.bincount(held // 6000, minlength=10)
    # hypergeometric: mean 500, deviation about sqrt(5000 * .1 * .9 * 11 / 12) = 20.3; five of them
    assert ((in_tenths - 500).abs() < 102).all()
