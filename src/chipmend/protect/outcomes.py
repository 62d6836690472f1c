"""What changed results of a layer make of the loss, as far as slopes can tell.

Of the network's outputs the loss is computed as it is. Elsewhere it is what the loss's slope makes
of the change; in front of a maximum over places the change is that of the maximum, since what is
not the greatest has no slope and may yet become it. However little a change matters to first order,
it moves what is rounded behind it (``rounding``): both are taken to be independent.
"""

import itertools
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from chipmend.network.integer.network import IntegerNetwork
from chipmend.network.integer.stages import Stage
from chipmend.network.window import Window, for_each
from chipmend.protect.layers import ByNeuron, ProtectedLayer
from chipmend.protect.slopes import Loss, losses

Outcome = Callable[[ByNeuron], Float[Tensor, "outputs places"]]
"""The absolute changes of the loss that changed results make, added up over samples."""
MOST_OUTPUTS = 1000
"""Of so many outputs of a network at most the loss is computed as it is."""


def outcome(
    network: IntegerNetwork,
    layer: ProtectedLayer,
    results: ByNeuron,
    exact: Mapping[str, Tensor],
    slopes: Mapping[str, Tensor],
    targets: Tensor,
    loss: Loss,
    noise: Float[Tensor, " samples"],
) -> Outcome:
    """What changed results of a layer make of the loss, each neuron's by itself.

    Args:
        network: The network.
        layer: The layer.
        results: Its results as they are.
        exact: What stages give, in real units.
        slopes: What the loss answers to that with.
        targets: The samples' targets.
        loss: The mean loss.
        noise: What the loss of each sample makes of any change at all, by what is rounded.
    """
    name = layer.stage.result
    if name == network.lowering.graph.output and results[..., 0].numel() <= MOST_OUTPUTS:
        return _of_outputs(layer, results, exact[name], targets, loss)
    if (pool := _pool_behind(network, name)) is not None:
        return _of_maxima(layer, results, exact[name], slopes[pool.result], pool, noise)
    slope = layer.from_pytorch(slopes[name]) * layer.worth()
    return lambda moved: _noisy(slope * (moved.float() - results.float()), noise).sum(2)


def _noisy(
    change: Float[Tensor, "outputs places samples"], noise: Float[Tensor, " samples"]
) -> Float[Tensor, "outputs places samples"]:
    """How much a loss changes about, to first order and by what is rounded."""
    return (change.square() + (change != 0) * noise.square()).sqrt()


def _of_outputs(
    layer: ProtectedLayer, results: ByNeuron, outputs: Tensor, targets: Tensor, loss: Loss
) -> Outcome:
    clean = losses(loss, outputs, targets)

    def found(moved: ByNeuron) -> Float[Tensor, "outputs places"]:
        changes = torch.zeros(results.shape[:2])
        for at in itertools.product(*map(range, results.shape[:2])):
            one = results.clone()
            one[at] = moved[at]
            changed = losses(loss, layer.as_pytorch_has_it(one, outputs), targets)
            changes[at] = (changed - clean).abs().sum()
        return changes

    return found


def _pool_behind(network: IntegerNetwork, name: str) -> Stage | None:
    """The maximum over places that alone takes a value."""
    takers = [s for s in network.lowering.stages if name in s.operation.takes]
    pools = [s for s in takers if s.operation.operator == "max_pool2d.default"]
    alone = len(takers) == len(pools) == 1 and name != network.lowering.graph.output
    return pools[0] if alone and not pools[0].operation.given["ceil_mode"] else None


def _of_maxima(
    layer: ProtectedLayer,
    results: ByNeuron,
    like: Tensor,
    slope: Tensor,
    pool: Stage,
    noise: Float[Tensor, " samples"],
) -> Outcome:
    given = dict(pool.operation.given)
    kernel = for_each(given["kernel_size"], 2)
    window = Window.of(kernel, {**given, "stride": given["stride"] or list(kernel)})
    padding = [p for pair in reversed(window.padding) for p in pair]
    slope = slope.flatten(2)[:, :, None] * layer.worth()

    def pieces(numbers: ByNeuron) -> Float[Tensor, "samples outputs taps windows"]:
        maps = layer.as_pytorch_has_it(numbers, like).float()
        padded = functional.pad(maps, padding, value=-torch.inf)
        found = functional.unfold(padded, kernel, window.dilation, 0, window.stride)
        return found.unflatten(1, (like.shape[1], -1))

    first = pieces(results)
    greatest, where = first.topk(min(2, first.shape[2]), 2)
    taps = torch.arange(first.shape[2])[:, None]
    others = torch.where(taps == where[:, :, :1], greatest[:, :, -1:], greatest[:, :, :1])
    if first.shape[2] == 1:
        others = torch.full_like(first, -torch.inf)

    def found(moved: ByNeuron) -> Float[Tensor, "outputs places"]:
        change = slope * (torch.maximum(others, pieces(moved)) - greatest[:, :, :1])
        sizes = tuple(n + sum(p) for n, p in zip(like.shape[2:], window.padding, strict=True))
        back = functional.fold(
            change.flatten(1, 2), sizes, kernel, window.dilation, 0, window.stride
        )
        inner = functional.pad(back, [-p for p in padding])
        return _noisy(layer.from_pytorch(inner), noise).sum(2)

    return found
