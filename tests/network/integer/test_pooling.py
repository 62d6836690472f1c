import pytest
import torch
from torch.nn import functional

from chipmend.network.integer.pooling import max_pooled

SETTINGS = [
    {"kernel_size": [2, 2], "stride": [], "padding": [0, 0], "dilation": [1, 1]},
    {"kernel_size": [3, 2], "stride": [2, 1], "padding": [1, 0], "dilation": [1, 1]},
    {"kernel_size": [3], "stride": [1], "padding": [1], "dilation": [2]},
]


@pytest.mark.parametrize("given", SETTINGS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8])
def test_it_is_pytorchs_own(given, dtype):
    info = torch.iinfo(dtype)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(info.min, info.min + 40, (3, 2, 7, 9), generator=generator)
    expected = functional.max_pool2d(
        inputs.double(),
        given["kernel_size"] * (3 - len(given["kernel_size"])),
        given["stride"] or None,
        given["padding"],
        given["dilation"],
    )
    found = max_pooled(inputs.to(dtype), 2, given)
    assert found.dtype == dtype
    assert torch.equal(found.double(), expected)
    one = max_pooled(inputs[:, :, 0].to(dtype), 1, {k: v[:1] for k, v in given.items()})
    expected = functional.max_pool1d(
        inputs[:, :, 0].double(),
        given["kernel_size"][0],
        given["stride"][0] if given["stride"] else None,
        given["padding"][0],
        given["dilation"][0],
    )
    assert torch.equal(one.double(), expected)
