import numpy as np
import pytest
import scipy.linalg
import torch

from chipmend.errors import RepairError
from chipmend.repairs import factors
from chipmend.repairs.factors import (
    cholesky,
    cholesky_,
    half_solve,
    inverse_of,
    second_moments,
    solve,
)

TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-10}


@pytest.fixture(params=["by LAPACK", "by PyTorch"], autouse=True)
def _both_ways(request, monkeypatch):
    if request.param == "by PyTorch":
        monkeypatch.setattr(factors, "_on_cpu", lambda _: False)


@pytest.fixture(params=[torch.float32, torch.float64])
def kind(request):
    return request.param


def definite(*batch, k, kind):
    rows = torch.randn(*batch, 3 * k, k, dtype=torch.float64, generator=seeded())
    return (rows.mT @ rows / (3 * k) + 0.1 * torch.eye(k)).to(kind)


def seeded():
    return torch.Generator().manual_seed(0)


def sides(*shape, kind):
    return torch.randn(*shape, dtype=torch.float64, generator=seeded()).to(kind)


def close(found, expected):
    tolerance = TOLERANCE[found.dtype]
    expected = torch.as_tensor(np.asarray(expected)).to(found.dtype)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("batch", [(), (1,), (5,), (2, 3)])
@pytest.mark.parametrize("k", [1, 2, 7, 130])
def test_factors_are_those_of_scipy(batch, k, kind):
    matrix = definite(*batch, k=k, kind=kind)
    before = matrix.clone()
    found = cholesky(matrix)
    assert torch.equal(matrix, before)
    for own, factor in zip(matrix.view(-1, k, k), found.view(-1, k, k), strict=True):
        close(factor.tril(), scipy.linalg.cholesky(own.double().numpy(), lower=True))


def test_only_the_lower_triangle_is_read_and_the_place_is_kept(kind):
    matrix = definite(3, k=9, kind=kind)
    spoilt = matrix + torch.ones(9, 9, dtype=kind).triu(1)
    assert cholesky_(spoilt) is spoilt
    close(spoilt.tril(), cholesky(matrix).tril())


@pytest.mark.parametrize("n", [1, 3, 40])
def test_solutions_are_those_of_scipy(n, kind):
    matrix, known = definite(4, k=30, kind=kind), sides(4, 30, n, kind=kind)
    factor, before = cholesky(matrix), known.clone()
    whole, half = solve(factor, known), half_solve(factor, known)
    assert torch.equal(known, before)
    for place in range(4):
        own, wanted = matrix[place].double().numpy(), known[place].double().numpy()
        lower = scipy.linalg.cholesky(own, lower=True)
        close(whole[place], scipy.linalg.solve(own, wanted, assume_a="pos"))
        close(half[place], scipy.linalg.solve_triangular(lower, wanted, lower=True))


def test_one_factor_serves_many_right_hand_sides_that_lie_as_they_like(kind):
    matrix, known = definite(1, k=12, kind=kind), sides(5, 4, 12, kind=kind).mT
    found = solve(cholesky(matrix), known)
    for place in range(5):
        expected = scipy.linalg.solve(matrix[0].double().numpy(), known[place].double().numpy())
        close(found[place], expected)


def test_the_inverse_is_that_of_scipy_and_symmetric(kind):
    matrix = definite(2, k=40, kind=kind)
    found = inverse_of(matrix)
    for own, inverse in zip(matrix, found, strict=True):
        close(inverse, scipy.linalg.inv(own.double().numpy()))
    assert torch.equal(found, found.mT)


@pytest.mark.parametrize("spoil", [-1.0, 0.0, float("nan")])
def test_a_single_matrix_that_is_not_positive_definite_is_told(spoil, kind):
    matrix = definite(4, k=6, kind=kind)
    matrix[2, 5, 5] = spoil
    with pytest.raises(RepairError, match="larger 'damping'"):
        cholesky(matrix)


@pytest.mark.parametrize("k", [1, 127, 300, 1100])
def test_second_moments_are_whole_and_symmetric(k, kind):
    rows = sides(50, 2, k, kind=kind).transpose(0, 1)
    moments, work = second_moments(rows)
    for own, moment in zip(rows.double(), moments, strict=True):
        close(moment, own.numpy().T @ own.numpy() / 50)
    close(moments, moments.mT)
    assert work == 2 * 50 * k * (k + 1) / 2
