"""Exactness is judged by PyTorch's own products of 64-bit integers."""

import pytest
import torch

from chipmend.network.integer import whole
from chipmend.network.integer.whole import WholeMatrix, runs, signed


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def numbers(*shape, least, most, seed):
    return torch.randint(least, most + 1, shape, generator=seeded(seed))


@pytest.fixture(params=[True, False], ids=["bytes", "single precision"])
def way(request, monkeypatch):
    if request.param and not whole.multiplies_bytes():
        pytest.skip("this processor does not multiply bytes")
    monkeypatch.setattr(whole, "multiplies_bytes", lambda: request.param)
    monkeypatch.setattr(whole, "AT_ONCE", 2000)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("n", "k", "m"), [(7, 4, 3), (1, 1, 1), (5, 600, 33), (3, 5000, 70)])
@pytest.mark.parametrize("signed_inputs", [True, False])
def test_a_product_is_exact(n, k, m, signed_inputs):
    least, most = (-128, 127) if signed_inputs else (0, 255)
    for low, high in ((least, most), (most - 5, most)):
        weight = numbers(n, k, least=-128 if low == least else 100, most=127, seed=1)
        columns = numbers(k, m, least=low, most=high, seed=2)
        matrix = WholeMatrix(weight.float(), least)
        bytes_ = columns.to(torch.int8 if signed_inputs else torch.uint8)
        assert torch.equal(matrix(signed(bytes_)).long(), weight @ columns)
        more = numbers(n, 1, least=-(2**20), most=2**20, seed=3)
        added = WholeMatrix(weight.float(), least, more.to(torch.int32))(signed(bytes_))
        assert torch.equal(added.long(), weight @ columns + more)


def test_unsigned_bytes_get_a_sign():
    assert signed(torch.tensor([0, 1, 128, 255], dtype=torch.uint8)).tolist() == [
        -128,
        -127,
        0,
        127,
    ]
    assert signed(torch.tensor([-3], dtype=torch.int8)).tolist() == [-3]


@pytest.mark.parametrize("k", [1, 500, 5000])
def test_no_run_of_a_sum_can_leave_single_precision(k):
    weight = numbers(5, k, least=-128, most=127, seed=0).float()
    found = list(runs(weight, 255))
    assert [i for run in found for i in run] == list(range(k))
    for run in found:
        reach = weight[:, run.start : run.stop].abs().double().sum(1) * 255
        assert (reach < 2**24).all()


@pytest.mark.parametrize("least", [-128, 0])
def test_a_single_row_is_multiplied_as_any_other(least):
    numbers = torch.randint(-128, 128, (5, 1), generator=torch.Generator().manual_seed(0)).float()
    right = torch.randint(least, least + 256, (1, 7), generator=torch.Generator().manual_seed(1))
    columns = (right if least else right - 128).to(torch.int8)
    for given in (columns, columns.T.contiguous().T):
        assert torch.equal(WholeMatrix(numbers, least)(given).long(), numbers.long() @ right)
