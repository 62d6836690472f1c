import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from chipmend.repairs.cost import Cost
from chipmend.repairs.tensor_store import TensorStore

HERE = torch.device("cpu")
TENSORS = {"a b:c": torch.arange(6.0).view(2, 3), "mask": torch.tensor([True, False])}


def made():
    return dict(TENSORS), Cost(algebra=0.5)


def never():
    raise AssertionError("it is kept")


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_what_was_made_once_is_kept_with_its_cost_and_the_time_it_took(tmp_path, monkeypatch):
    ticks = iter((10.0, 13.0))
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    first, cost = TensorStore(tmp_path, HERE).get("x", made)
    assert cost == Cost(algebra=0.5, seconds=3.0)
    again, kept = TensorStore(tmp_path, HERE).get("x", never)
    assert equal(first, TENSORS)
    assert equal(again, TENSORS)
    assert kept == cost


def test_what_says_how_long_it_took_is_taken_at_its_word(tmp_path):
    took = Cost(algebra=0.5, seconds=7.0)
    assert TensorStore(tmp_path, HERE).get("x", lambda: (dict(TENSORS), took))[1] == took


def test_what_is_kept_is_told_from_what_is_not(tmp_path):
    store = TensorStore(tmp_path, HERE)
    assert store.read("x") is None
    assert TensorStore(None, HERE).read("x") is None
    store.get("x", made)
    tensors, cost = store.read("x")
    assert equal(tensors, TENSORS)
    assert cost.algebra == 0.5
    path = tmp_path / "x.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    assert store.read("x") is None


def test_another_name_is_another_thing(tmp_path):
    store = TensorStore(tmp_path, HERE)
    store.get("x", made)
    other = {"d": torch.ones(1)}
    assert equal(store.get("y", lambda: (other, Cost()))[0], other)
    assert equal(store.get("x", never)[0], TENSORS)


def test_what_is_kept_is_mapped_so_that_workers_share_it(tmp_path):
    held, _ = TensorStore(tmp_path, HERE).get("mapped", made)
    assert "mapped.safetensors" in Path("/proc/self/maps").read_text()
    assert held


def test_without_a_folder_it_is_made_each_time():
    calls = []
    store = TensorStore(None, HERE)
    for _ in range(2):
        store.get("x", lambda: (calls.append(1), made())[1])
    assert len(calls) == 2


@pytest.mark.parametrize("torn", [b"", b"junk", None])
def test_a_damaged_file_is_made_again_and_says_so(tmp_path, caplog, torn):
    TensorStore(tmp_path, HERE).get("x", made)
    path = tmp_path / "x.safetensors"
    rest = path.read_bytes()[:-3] if torn is None else torn
    path.unlink()  # what is mapped stays
    path.write_bytes(rest)
    with caplog.at_level(logging.WARNING):
        assert equal(TensorStore(tmp_path, HERE).get("x", made)[0], TENSORS)
    assert "damaged" in caplog.text
    assert equal(TensorStore(tmp_path, HERE).get("x", never)[0], TENSORS)


def test_where_nothing_can_be_kept_it_is_made_and_the_log_says_so(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    store = TensorStore(tmp_path / "file" / "folder", HERE)
    assert equal(store.get("x", made)[0], TENSORS)
    assert "works it out again" in caplog.text


def test_of_several_that_want_the_same_one_makes_it(tmp_path):
    calls = []

    def slow():
        calls.append(os.getpid())
        time.sleep(0.2)
        return made()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: TensorStore(tmp_path, HERE).get("x", slow)[0], range(4)))
    assert len(calls) == 1
    assert all(equal(each, TENSORS) for each in found)
