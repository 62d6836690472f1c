"""A network as the array sees it: the weights of its matrix products, and nothing else.

Linear and convolution layers run on the array, and so does the input projection of attention;
norms, biases and activations do not.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.parameter import is_lazy

from chipmend.errors import NetworkError
from chipmend.hardware.placement import WeightShape

_PROJECTIONS = {"in_proj_weight": 0, "q_proj_weight": 0, "k_proj_weight": 1, "v_proj_weight": 2}
"""Attention's input projections, and which third of their joint bias is theirs."""
_OFF_THE_ARRAY = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.PReLU)


@dataclass(frozen=True, slots=True)
class Bias:
    """What is added to a layer's outputs.

    Args:
        name: The bias in the network.
        first: Which of its numbers goes to the layer's first output.
    """

    name: str
    first: int = 0


@dataclass(frozen=True, eq=False)
class Gemm:
    """One stored weight that the array holds.

    Args:
        name: The weight's name in the network; the first one if several layers share it.
        weight: The parameter itself, ``outputs x inputs x kernel sizes``.
        shapes: How it is laid on the array; more than one if layers of different geometry share it.
        biases: What is added to its outputs; more than one if layers that share it add others.
    """

    name: str
    weight: nn.Parameter
    shapes: tuple[WeightShape, ...]
    biases: tuple["Bias | None", ...] = ()


def gemms(model: nn.Module) -> list[Gemm]:
    """Find every weight of a network that the array holds, each once.

    Args:
        model: Any network.

    Returns:
        The weights, in the order in which the network declares them.

    Raises:
        NetworkError: There is none, or a weight that is computed anew at every pass.

    Example:
        >>> [(g.name, g.shapes) for g in gemms(nn.Conv2d(4, 6, 3, groups=2))]
        [('weight', (WeightShape(outputs=6, inputs=2, kernel=9, groups=2),))]
    """
    found: dict[int, Gemm] = {}
    for name, weight, shape, bias in _placed(model):
        known = found.get(id(weight)) or Gemm(name, weight, ())
        shapes, biases = dict.fromkeys((*known.shapes, shape)), dict.fromkeys((*known.biases, bias))
        found[id(weight)] = replace(known, shapes=tuple(shapes), biases=tuple(biases))
    if not found:
        raise NetworkError(
            "the network has no layer that the array can run",
            hint="it needs at least one Linear, Conv1d, Conv2d or Conv3d layer",
        )
    return list(found.values())


def _placed(
    model: nn.Module,
) -> Iterator[tuple[str, nn.Parameter, WeightShape, Bias | None]]:
    for path, module in model.named_modules():
        before = f"{path}." if path else ""
        for attribute, shape, bias in _weights_of(module):
            name = before + attribute
            if bias is not None:
                held = module._parameters.get(bias.name) is not None
                bias = replace(bias, name=before + bias.name) if held else None
            yield name, _parameter(module, attribute, name), shape, bias


def _weights_of(module: nn.Module) -> Iterator[tuple[str, WeightShape, Bias]]:
    if isinstance(module, nn.Linear):
        yield "weight", WeightShape(module.out_features, module.in_features), Bias("bias")
    elif isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd):
        inputs = module.in_channels // module.groups
        kernel = math.prod(module.kernel_size)
        shape = WeightShape(module.out_channels, inputs, kernel, module.groups)
        yield "weight", shape, Bias("bias")
    elif isinstance(module, nn.MultiheadAttention):
        for attribute, part in _PROJECTIONS.items():
            weight = getattr(module, attribute)
            if weight is not None:
                bias = Bias("in_proj_bias", part * module.embed_dim)
                yield attribute, WeightShape(*weight.shape), bias


def _parameter(module: nn.Module, attribute: str, name: str) -> nn.Parameter:
    weight = module._parameters.get(attribute)
    if weight is None:
        raise NetworkError(
            f"{name} is computed anew at every pass, so a weight in it cannot be held at zero",
            hint=f"call {_unmaking(module, attribute)} first",
        )
    if is_lazy(weight):
        raise NetworkError(
            f"{name} has no size yet", hint="run one batch through the network before repairing"
        )
    return weight


def _unmaking(module: nn.Module, attribute: str) -> str:
    """What turns a weight that is computed anew at every pass into a plain one."""
    if f"{attribute}_g" in module._parameters:
        return "torch.nn.utils.remove_weight_norm"
    if f"{attribute}_mask" in module._buffers:
        return "torch.nn.utils.prune.remove"
    if f"{attribute}_orig" in module._parameters:
        return "torch.nn.utils.remove_spectral_norm"
    return "torch.nn.utils.parametrize.remove_parametrizations"


def assumed_healthy(model: nn.Module) -> list[str]:
    """Weights of two dimensions or more that are not placed on the array, by name.

    Of norms and PReLU none is listed: these never run on the array.
    """
    placed = {id(weight) for _, weight, *_ in _placed(model)}
    return [
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if not isinstance(module, _OFF_THE_ARRAY)
        for name, weight in module.named_parameters(recurse=False)
        if id(weight) not in placed and not is_lazy(weight) and weight.dim() >= 2
    ]
