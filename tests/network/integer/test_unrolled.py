"""Unrolled inputs against PyTorch's own unfolding, and against loops over the definition."""

from itertools import product

import pytest
import torch
from torch.nn.functional import unfold

from chipmend.network.integer.unrolled import unrolled
from chipmend.network.window import Window


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


WINDOWS = [
    ((3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    ((2, 3), (2, 1), ((0, 0), (2, 2)), (1, 2)),
    ((1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ((1, 1), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    ((3, 2), (3, 2), ((1, 1), (0, 0)), (1, 1)),
]


@pytest.mark.parametrize("window", [Window(*each) for each in WINDOWS])
@pytest.mark.parametrize("samples_last", [True, False])
def test_it_is_what_pytorch_unfolds(window, samples_last):
    inputs = torch.randint(-128, 128, (4, 3, 7, 6), generator=seeded())
    if samples_last:
        inputs = inputs.movedim(0, -1).contiguous().movedim(-1, 0)
    found = unrolled(inputs.to(torch.int8), window, zero=0)
    stretch = [p[0] for p in window.padding]
    expected = unfold(inputs.float(), window.kernel, window.dilation, stretch, window.stride)
    samples, rows, _ = expected.shape
    assert torch.equal(found.reshape(rows, -1, samples).permute(2, 0, 1).float(), expected)


def test_one_and_three_dimensions():
    for sizes, window in (
        ((9,), Window((3,), (2,), ((1, 2),), (2,))),
        ((4, 3, 5), Window((2, 1, 3), (1, 2, 2), ((1, 0), (0, 0), (1, 1)), (1, 1, 1))),
    ):
        inputs = torch.randint(1, 128, (2, 3, *sizes), generator=seeded()).to(torch.int8)
        found = unrolled(inputs, window, zero=-128)
        places = window.places(sizes)
        assert found.shape == (3, *window.kernel, *places, 2)
        for tap in product(*map(range, window.kernel)):
            for place in product(*map(range, places)):
                at = [
                    p * s + t * d - pad[0]
                    for p, s, t, d, pad in zip(
                        place, window.stride, tap, window.dilation, window.padding, strict=True
                    )
                ]
                inside = all(0 <= a < size for a, size in zip(at, sizes, strict=True))
                expected = inputs[:, :, *at] if inside else torch.full((2, 3), -128)
                assert torch.equal(found[:, *tap, *place].T.int(), expected.int())
