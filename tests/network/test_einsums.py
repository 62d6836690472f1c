"""Einstein's sums that are products of matrices, that are none, and that are refused."""

import pytest
import torch

from chipmend.errors import NetworkError
from chipmend.network.einsums import as_product

SIZES = {"a": 2, "b": 3, "i": 4, "j": 5, "k": 6}


def tensors_of(equation, before=()):
    return [
        torch.randn([size for c in axes.replace("...", ".") for size in
                     (before if c == "." else [SIZES[c]])])
        for axes in equation.replace(" ", "").split("->")[0].split(",")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("equation", "before"),
    [
        ("bij,bkj->bik", ()),
        ("ibj,jbk->ibk", ()),
        ("bij,bjk->kib", ()),
        ("ij,jk->ik", ()),
        ("ij,jk", ()),
        ("ji,jk", ()),
        ("abij, abjk -> abik", ()),
        ("abi,abj->ij", ()),
        ("...ij,...kj->...ik", (3, 2)),
        ("b...ij,b...jk->b...ik", (2,)),
        ("...ij,...jk", (3,)),
        ("...ij,...jk->...ik", ()),
    ],
)
def test_products_are_einsteins(equation, before):
    tensors = tensors_of(equation, before)
    found = as_product(equation, tensors)
    assert torch.allclose(found, torch.einsum(equation, *tensors), atol=1e-5)


@pytest.mark.parametrize("equation", ["bij,bi->bij", "i,j->ij", "ab,ab->ab", "ij,ij->ij"])
def test_what_is_not_summed_up_is_no_product(equation):
    tensors = tensors_of(equation)
    assert as_product(equation, tensors) is None


@pytest.mark.parametrize("equation", ["bij,bkj->bi", "bii,bij->bj", "ij,jk->i"])
def test_an_axis_summed_up_alone_or_met_twice_is_refused(equation):
    with pytest.raises(NetworkError, match="cannot be laid on the array") as error:
        as_product(equation, [torch.randn(2, 3, 3)] * 2 if "b" in equation else
                   [torch.randn(4, 4)] * 2)  # fmt: skip
    assert "matmul" in error.value.hint
