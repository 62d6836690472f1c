"""What a network asks of the array: the sizes of its matrix products, as they are computed."""

import math

import torch
from torch import Tensor, nn

from chipmend.errors import DataError, NetworkError
from chipmend.hardware.cycles import GemmSize
from chipmend.hardware.placement import WeightShape
from chipmend.network.dynamic import DynamicProducts
from chipmend.network.evaluate import device_of, evaluating
from chipmend.network.gemm import gemms
from chipmend.network.products import Product, Products


def gemm_sizes(model: nn.Module, inputs: Tensor) -> tuple[GemmSize, ...]:
    """Measure the matrix products of a forward pass.

    Args:
        model: The network; its modes and statistics are left as they were.
        inputs: ``samples x ...``, as they go into the network; their values do not matter. One
            sample gives what the array does for one sample.

    Returns:
        The sizes, in the order in which the network computes the products. A weight that is used
        several times counts each time, and a product of two activations for each sample and head.

    Raises:
        NetworkError: Nothing in the network runs on the array.
        DataError: The inputs do not go through the network.

    Example:
        >>> gemm_sizes(nn.Conv2d(1, 8, 3), torch.zeros(1, 1, 6, 6))
        (GemmSize(m=16, shape=WeightShape(outputs=8, inputs=1, kernel=9, groups=1)),)
    """
    met: list[GemmSize] = []
    products = Products(gemms(model), lambda product: met.append(_size(product)))

    def meet(left: Tensor, right: Tensor) -> Tensor:
        met.extend(_pair_sizes(left, right))
        return right

    try:
        with evaluating(model), torch.no_grad(), DynamicProducts(model, meet), products:
            model(inputs.to(device_of(model)))
    except Exception as error:  # whatever a network of the user's does with the wrong inputs
        raise DataError(
            f"the inputs do not go through the network: {type(error).__name__}: "
            f"{str(error).partition(chr(10))[0]}",
            hint="give a batch of inputs as in training, such as one sample with its leading 1",
        ) from error
    if not met:
        raise NetworkError(
            "no matrix product of the network runs on the array",
            hint="check that it uses its Linear and Conv layers for these inputs",
        )
    return tuple(met)


def _pair_sizes(left: Tensor, right: Tensor) -> list[GemmSize]:
    """One for each sample and head."""
    count = math.prod(torch.broadcast_shapes(left.shape[:-2], right.shape[:-2]))
    *_, k, n = right.shape
    return [GemmSize(left.shape[-2], WeightShape(n, k))] * count


def _size(product: Product) -> GemmSize:
    weight = product.gemm.weight
    taps = weight[0, 0].numel()
    shape = WeightShape(len(product.outputs), weight.shape[1], taps, product.groups)
    return GemmSize(product.samples, shape)
