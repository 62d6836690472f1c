"""Where the weights of a network lie in the weight memory: layer by layer as they are executed."""

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from chipmend.hardware.memory import Filled, WeightMemory
from chipmend.network.evaluate import device_of, evaluating
from chipmend.network.gemm import gemms
from chipmend.network.products import Products


def filled(model: nn.Module, inputs: Shaped[Tensor, "samples ..."], memory: WeightMemory) -> Filled:
    """Fill a weight memory with a network's weights.

    A weight that several layers share lies where the first of them is executed. Weights that no
    input reaches come last, in the order in which the network declares them.

    Args:
        model: The network; it is left as it was.
        inputs: A batch of inputs to run it on.
        memory: The memory.

    Returns:
        Where each weight lies, by its name.
    """
    placed = gemms(model)
    met: dict[str, None] = {}
    products = Products(placed, lambda product: met.setdefault(product.gemm.name))
    with evaluating(model), torch.no_grad(), products:
        model(inputs.to(device_of(model)))
    sizes = {gemm.name: gemm.weight.numel() for gemm in placed}
    in_order = {name: sizes[name] for name in dict.fromkeys((*met, *sizes))}
    return Filled.of(in_order, memory)
