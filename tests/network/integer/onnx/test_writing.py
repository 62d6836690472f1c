import copy
import sys

import onnx
import pytest
import torch
from torch import nn

import attending
from chipmend.errors import MissingExtraError, NetworkError, StoreError
from chipmend.network.integer.onnx.writing import write_onnx
from exported import Branches, by_onnxruntime, in_integers, lively_, seeded


def test_any_number_of_samples_goes_in(tmp_path):
    model = nn.Sequential(nn.Linear(4, 3)).eval()
    inputs = torch.randn(64, 4, generator=seeded())
    path = write_onnx(in_integers(model, inputs), tmp_path / "x")
    assert [len(by_onnxruntime(path, inputs[:count])) for count in (1, 3, 64)] == [1, 3, 64]


def test_the_same_network_gives_the_same_bytes(tmp_path):
    model, inputs = lively_(Branches()), torch.randn(40, 2, 8, 8, generator=seeded())
    network = in_integers(model, inputs)
    first, second = (write_onnx(network, tmp_path / n).read_bytes() for n in "ab")
    assert first == second


def test_a_network_that_is_not_in_integers_is_refused(tmp_path):
    with pytest.raises(NetworkError, match="a Linear is no network in integers"):
        write_onnx(nn.Linear(2, 2), tmp_path / "x")


def test_an_operator_that_onnx_does_not_know_is_told(tmp_path):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return torch.linalg.eigvals(self.layer(x).view(-1, 2, 2)).abs()

    inputs = torch.randn(8, 4, generator=seeded())
    network = in_integers(Odd().eval(), inputs)
    with pytest.raises(NetworkError, match="cannot be written as ONNX"):
        write_onnx(network, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    network = in_integers(nn.Sequential(nn.Linear(4, 3)).eval(), torch.randn(8, 4))
    with pytest.raises(StoreError):
        write_onnx(network, tmp_path / "file" / "x")


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    network = in_integers(nn.Sequential(nn.Linear(4, 3)).eval(), torch.randn(8, 4))
    with pytest.raises(MissingExtraError, match="onnxscript") as caught:
        write_onnx(copy.copy(network), tmp_path / "x")
    assert "chipmend[onnx]" in caught.value.hint


def operators(path):
    return {node.op_type for node in onnx.load(path).graph.node}


def test_the_form_is_exact_where_one_number_moves_many_and_else_what_is_fused(tmp_path):
    attention = in_integers(attending.network().eval(), attending.INPUTS)
    assert "QuantizeLinear" not in operators(write_onnx(attention, tmp_path / "x"))
    assert "QuantizeLinear" in operators(write_onnx(attention, tmp_path / "x", exact=False))
    plain = in_integers(lively_(Branches()), torch.randn(40, 2, 8, 8, generator=seeded()))
    assert "QuantizeLinear" in operators(write_onnx(plain, tmp_path / "x"))
    assert "QuantizeLinear" not in operators(write_onnx(plain, tmp_path / "x", exact=True))
