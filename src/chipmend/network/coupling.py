"""Which channels of a network can change places, and what has to move along with them.

Permuting a layer's outputs leaves the network's function alone if everything that takes them is
permuted alike: consumers' inputs, norms, and whatever a sum, a concatenation or a depthwise layer
ties to them. Torch-Pruning's dependency graph says what is tied [Fang2023]; every coupling that it
names is then tried on real inputs, and one that changes the outputs is left out.

References:
    [Fang2023] Fang, Ma, Song, Mi, Wang, "DepGraph: towards any structural pruning", CVPR 2023.
"""

import copy
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.utils._pytree import tree_leaves

from chipmend.network.dynamic import DynamicProducts
from chipmend.network.evaluate import device_of, differentiable, evaluating

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4
"""How far outputs may move, relative to their spread: rounding of sums in another order."""


Positions = Sequence[Int64[np.ndarray, " channels"]]
"""Where the channels of each coupling go, coupling by coupling."""


@dataclass(frozen=True, eq=False)
class Moved:
    """A tensor that moves with the channels of a coupling.

    Args:
        name: The parameter or buffer.
        axis: 0 if it gives the channels out, or lies beside them; 1 if it takes them in.
        index: Where each channel lies on that axis; in several places after a flattening, and at -1
            if it does not. Inputs of a grouped layer are counted over all groups.
        groups: Groups of the layer.
    """

    name: str
    axis: int
    index: Int64[np.ndarray, "channels places"]
    groups: int = 1

    def channels_first(self, tensor: Tensor) -> Tensor:
        """The tensor with the axis in front, over all groups."""
        if self.axis == 0:
            return tensor
        return tensor.unflatten(0, (self.groups, -1)).transpose(1, 2).flatten(0, 1)

    def moved_to(self, tensor: Tensor, position: Int64[np.ndarray, " channels"]) -> Tensor:
        """The tensor once every channel is at its new position."""
        first = self.channels_first(tensor)
        here, source = self.index >= 0, np.arange(len(first))
        source[self.index[position][here]] = self.index[here]
        place = self.channels_first(torch.arange(tensor.numel()).view(tensor.shape))
        flat = torch.empty_like(tensor).flatten()
        flat[place.flatten().to(flat.device)] = first[torch.from_numpy(source)].flatten()
        return flat.view(tensor.shape)


@dataclass(frozen=True, eq=False)
class Coupling:
    """Channels that can change places.

    Args:
        block: Channels change places within their block only.
        moved: What moves with them.
    """

    block: Int64[np.ndarray, " channels"]
    moved: tuple[Moved, ...]

    @property
    def tensors(self) -> list[str]:
        """Names of what moves."""
        return [moved.name for moved in self.moved]

    @property
    def taken_in(self) -> bool:
        """Whether a weight takes the channels in; the network's outputs are taken in by none."""
        return any(moved.axis == 1 for moved in self.moved)

    def generators(self) -> Iterator[Int64[np.ndarray, " channels"]]:
        """Two new positions that make up all others of a block: a cycle, and an exchange in it.

        What both leave alone all permutations do.
        """
        cycle, exchange = np.empty_like(self.block), np.arange(len(self.block))
        random = np.random.default_rng(0)
        for label in np.unique(self.block):
            order = random.permutation(np.flatnonzero(self.block == label))
            cycle[order] = np.roll(order, 1)
            exchange[order[:2]] = order[:2][::-1]
        yield cycle
        yield exchange


def couplings(model: nn.Module, inputs: Tensor) -> list[Coupling]:
    """Find the channels of a network that can change places.

    Args:
        model: The network; it is left as it was.
        inputs: A few inputs to try them on.

    Returns:
        Couplings that leave the network's function alone. What has to keep its place is told in the
        log.
    """
    found, inputs = [], inputs.to(device_of(model))
    try:
        proposed = list(_proposed(model, inputs))
    except Exception as error:  # whatever a graph of somebody else's network may raise
        logger.warning("all channels keep their places, as the network cannot be traced: %s", error)
        return []
    outputs = _outputs(model, inputs)
    for coupling in proposed:
        if not coupling.taken_in or len(np.unique(coupling.block)) == len(coupling.block):
            continue
        if _leaves_alone(model, coupling, inputs, outputs):
            found.append(coupling)
        else:
            logger.warning("channels that keep their places: %s", ", ".join(coupling.tensors))
    if not found:
        logger.warning("no channels of the network can change places")
    return found


def permute_(
    model: nn.Module, coupling: Coupling, position: Int64[np.ndarray, " channels"]
) -> None:
    """Move the channels of a network, in place.

    Args:
        model: The network.
        coupling: What moves together.
        position: Where each channel goes.
    """
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for moved in coupling.moved:
            tensor = tensors[moved.name]
            tensor.copy_(moved.moved_to(tensor, position))


def _outputs(model: nn.Module, inputs: Tensor) -> list[Tensor]:
    """Outputs, products of activations spoiled: channels in those keep their places on the PEs."""
    with evaluating(model), torch.no_grad(), DynamicProducts(model, _spoiled):
        return [leaf.detach() for leaf in tree_leaves(model(inputs)) if isinstance(leaf, Tensor)]


def _spoiled(left: Tensor, right: Tensor) -> Tensor:  # noqa: ARG001
    random = torch.rand(right.shape[-2:], generator=torch.Generator().manual_seed(0))
    return right * random.to(right.device, right.dtype)


def _leaves_alone(
    model: nn.Module, coupling: Coupling, inputs: Tensor, outputs: Sequence[Tensor]
) -> bool:
    tensors = {*dict(model.named_parameters()), *dict(model.named_buffers())}
    if not tensors.issuperset(coupling.tensors):
        return False  # a weight under a second name: what shares it would have to move as well
    if not outputs:
        return False  # nothing would show a change
    for position in coupling.generators():
        moved = copy.deepcopy(model)
        try:
            permute_(moved, coupling, position)
        except IndexError:
            return False  # the graph has lost count of the channels
        if not all(map(_alike, outputs, _outputs(moved, inputs))):
            return False
    return True


def _alike(before: Tensor, after: Tensor) -> bool:
    if not before.is_floating_point() or before.numel() == 0:
        return torch.equal(before, after)
    size = float(before.double().std(correction=0)) or float(before.abs().max()) or 1.0
    return bool((after - before).abs().max() <= TOLERANCE * size)


def _proposed(model: nn.Module, inputs: Tensor) -> Iterator[Coupling]:
    """What the dependency graph says."""
    from torch_pruning import DependencyGraph  # brings a whole pruning library with it

    network = differentiable(model)
    paths = {module: path for path, module in network.named_modules()}
    with torch.enable_grad():
        graph = DependencyGraph().build_dependency(
            network, inputs, forward_fn=lambda traced, x: traced(x), verbose=False
        )
        for group in graph.get_all_groups():
            coupling = _coupling(group, graph, paths)
            if isinstance(coupling, Coupling):
                yield coupling
            else:
                logger.warning("channels that keep their places: %s", coupling)


def _coupling(group: Any, graph: Any, paths: dict[nn.Module, str]) -> Coupling | str:
    """A group of the dependency graph as a coupling; in words where its channels are bound."""
    channels, moved = len(group[0].idxs), []
    labels = [np.zeros(channels, np.int64)]
    for item in group:
        module, out = item.dep.target.module, graph.is_out_channel_pruning_fn(item.dep.handler)
        if isinstance(module, nn.Parameter) or item.dep.target.type == graph.ops.OPTYPE.OUTPUT:
            return f"{paths[group[0].dep.target.module]}, whose outputs are read as they are"
        if module not in paths:
            continue  # an operation without weights
        index = _index(item.idxs, item.root_idxs, channels)
        tensors = _tensors(module, out=out)
        if index is None or tensors is None:
            return f"{paths[module]}, a {type(module).__name__}"
        for name, axis, groups in tensors:
            path = f"{paths[module]}.{name}" if paths[module] else name
            moved.append(Moved(path, axis, index, groups))
            size = (module.in_channels if axis else module.out_channels) if groups > 1 else 0
            labels.append(index[:, 0] * groups // size if size else np.sign(index[:, 0] + 1))
    block = np.unique(np.stack(labels, axis=1), axis=0, return_inverse=True)[1]
    return Coupling(block, tuple(moved))


def _index(
    places: Sequence[int], channels_of: Sequence[int | None], channels: int
) -> np.ndarray | None:
    """Where each channel lies; none where the graph lost track, or places are of unlike number."""
    rows: list[list[int]] = [[] for _ in range(channels)]
    for place, channel in zip(places, channels_of, strict=True):
        if channel is None:
            return None
        rows[channel].append(place)
    most = max(map(len, rows))
    if any(len(row) not in (0, most) for row in rows):
        return None
    return np.array([row or [-1] * most for row in rows])


def _tensors(module: nn.Module, *, out: bool) -> list[tuple[str, int, int]] | None:
    """Name, axis and groups of all tensors of a module that move; none of an unknown one."""
    held = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    if isinstance(module, nn.Linear) or (
        isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd)
    ):
        groups = getattr(module, "groups", 1)
        if groups > 1 and groups == module.in_channels == module.out_channels:
            return [(name, 0, 1) for name, _ in held]  # depthwise: gives out what it takes in
        return [(name, 0, groups) for name, _ in held] if out else [("weight", 1, groups)]
    if isinstance(module, _NormBase | nn.LayerNorm | nn.RMSNorm | nn.PReLU):
        if any(tensor.dim() > 1 for _, tensor in held):
            return None
        return [(name, 0, 1) for name, tensor in held if tensor.numel() > 1]
    return None
