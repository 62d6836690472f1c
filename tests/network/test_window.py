"""Where a kernel stops, and what its taps meet there."""

from itertools import product

import pytest
import torch

from chipmend.network.window import Window, for_each


@pytest.mark.parametrize("padding", ["valid", "same", [1], [2, 0], 1])
def test_padding_is_what_pytorch_makes_of_it(padding):
    given = {"stride": [1], "padding": padding, "dilation": [2, 1]}
    window = Window.of((2, 3), given)
    weight = torch.ones(1, 1, 2, 3)
    pad = [0, 0] if padding == "valid" else padding
    expected = torch.nn.functional.conv2d(
        torch.zeros(1, 1, 8, 9), weight, stride=1, padding=pad, dilation=(2, 1)
    )
    assert window.places((8, 9)) == tuple(expected.shape[2:])


@pytest.mark.parametrize(
    "window",
    [
        Window((3,), (2,), ((1, 2),), (2,)),
        Window((2, 3), (2, 1), ((0, 1), (2, 0)), (1, 2)),
    ],
)
def test_taps_meet_what_loops_meet(window):
    sizes = (9, 7)[: len(window.kernel)]
    inputs = torch.arange(1, 1 + 2 * 9 * 7)[: 2 * torch.Size(sizes).numel()].view(2, *sizes, 1)
    padded, places = window.padded(inputs, 0), window.places(sizes)
    for tap in product(*map(range, window.kernel)):
        met = padded[:, *window.stops(tap, places)]
        assert met.shape == (2, *places, 1)
        for place in product(*map(range, places)):
            at = [
                p * s + t * d - before
                for p, s, t, d, (before, _) in zip(
                    place, window.stride, tap, window.dilation, window.padding, strict=True
                )
            ]
            inside = all(0 <= a < size for a, size in zip(at, sizes, strict=True))
            expected = inputs[:, *at] if inside else torch.zeros(2, 1)
            assert torch.equal(met[:, *place].float(), expected.float())


def test_one_size_is_that_of_all_dimensions():
    assert for_each(2, 3) == for_each([2], 3) == (2, 2, 2)
    assert for_each((1, 2), 2) == (1, 2)
