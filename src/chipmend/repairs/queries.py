"""Fit queries to keys that have lost numbers, in closed form, head by head.

Of ``Q K`` the array loses what of ``K`` lies on faulty PEs. The numbers of a query that are left
can say part of what those lost said: the mixture ``A`` is sought for which ``Q A K'`` is nearest to
``Q K``, where ``K'`` is what is left of ``K``. It goes into the weights that give ``Q`` out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from chipmend.network.dynamic import DynamicProducts, Lost
from chipmend.network.evaluate import device_of, evaluating
from chipmend.network.gemm import gemms
from chipmend.network.queries import Query, mixed_, mixing_of
from chipmend.repairs.closed_form import share_of
from chipmend.repairs.one_shot import CleanLayer
from chipmend.repairs.sequential import Target, Targets

MOST_STEPS, TOLERANCE = 200, 1e-4
"""Conjugate gradients go on until what is missing has become so much smaller, or so far."""
DAMPING = 0.01
"""Share of the mean second moment by which mixtures are held to what queries were."""
Mixing = Mapping[str, Float[Tensor, "outputs outputs"]]
"""Of what each output of a weight is made, by the weight's name."""


def fitted_queries(
    model: nn.Module, inputs: Tensor, found: Sequence[Query], lost: Lost
) -> tuple[dict[str, Tensor], int]:
    """Find the mixtures that make up best for what keys lose.

    Args:
        model: The clean network; it is left as it was.
        inputs: The calibration inputs that its queries were found with.
        found: Its queries.
        lost: What right operands lose.

    Returns:
        The mixtures by name of the weight, none where nothing is lost; and the multiply-adds that
        they took beside the forward pass.
    """
    sizes = {gemm.name: len(gemm.weight) for gemm in gemms(model)}
    by_product = {query.product: query for query in found}
    mixing, met, work = dict[str, Tensor](), 0, 0

    def meet(left: Tensor, right: Tensor) -> Tensor:
        nonlocal met, work
        query, met = by_product.get(met), met + 1
        gone = lost(*right.shape[-2:]).to(right.device)
        if query is None or not bool(gone.any()):
            return right
        keys = right.flatten(0, -3)
        mixtures, spent = _fit(left.flatten(0, -3), keys, keys.masked_fill(gone, 0), query)
        here = mixing_of(query.outputs, mixtures, sizes[query.weight])
        mixing[query.weight] = here @ mixing.get(query.weight, torch.eye(len(here)).to(here))
        work += spent
        return right

    with evaluating(model), torch.no_grad(), DynamicProducts(model, meet):
        model(inputs.to(device_of(model)))
    return mixing, work


def mix_(network: nn.Module, mixing: Mixing) -> None:
    """Put mixtures into a network's weights, in place."""
    for gemm in gemms(network):
        if gemm.name in mixing:
            mixed_(network, gemm, mixing[gemm.name])


def with_mixed_outputs(clean: Targets, mixing: Mixing) -> Targets:
    """What the clean network does with the calibration inputs, were its outputs mixtures."""
    parts = {
        (name, first): _mixed_target(target, mixing[name], first) if name in mixing else target
        for (name, first), target in clean.parts.items()
    }
    return replace(clean, parts=parts)


def _mixed_target(target: Target, mixing: Tensor, first: int) -> Target:
    count = target.outputs.shape[-1]
    mixed = mixing[first:, first:][:count, :count].mT
    later = [(inputs, outputs @ mixed) for inputs, outputs in target.later]
    return replace(target, outputs=target.outputs @ mixed, later=later)


def with_mixed_weights(layers: Mapping[str, CleanLayer], mixing: Mixing) -> dict[str, CleanLayer]:
    """The clean layers, were their weights mixtures."""
    return {
        name: _mixed_layer(layer, mixing[name]) if name in mixing else layer
        for name, layer in layers.items()
    }


def _mixed_layer(layer: CleanLayer, mixing: Tensor) -> CleanLayer:
    weight = mixing.to(layer.weight) @ layer.weight
    return replace(layer, weight=weight, power=layer.known.power(weight))


def _fit(
    queries: Float[Tensor, "matrices m k"],
    keys: Float[Tensor, "matrices k n"],
    left: Float[Tensor, "matrices k n"],
    query: Query,
) -> tuple[Float[Tensor, "heads k k"], int]:
    """The mixture of each head: a row for each new number of a query.

    It solves ``sum (Q'Q) A (K'K'^T) = sum (Q'Q) (K K'^T)`` over the matrices of the head.
    """
    outer, inner, wanted = queries.mT @ queries, left @ left.mT, keys @ left.mT
    heads, k = query.outputs.shape
    of_head = query.heads.to(outer.device)

    def summed(matrices: Tensor) -> Tensor:
        return matrices.new_zeros(heads, k, k).index_add_(0, of_head, matrices)

    powers, kept = (each.diagonal(dim1=1, dim2=2) for each in (outer, inner))
    diagonal = summed(powers[:, :, None] * kept[:, None])
    added = share_of(diagonal.mean((1, 2)), DAMPING)[:, None, None]

    def normal(moved: Tensor) -> Tensor:
        return summed(outer @ moved[of_head] @ inner) + added * moved

    moved, steps = _solved(normal, summed(outer @ (wanted - inner)), diagonal + added)
    work = len(queries) * (queries.shape[1] + 2 * left.shape[-1] + (1 + 2 * steps) * k) * k**2
    return torch.eye(k).to(moved) + moved.mT, work


def _solved(
    normal: Callable[[Tensor], Tensor], wanted: Float[Tensor, "heads k k"], diagonal: Tensor
) -> tuple[Float[Tensor, "heads k k"], int]:
    """The solution of positive definite systems by conjugate gradients, and the steps it took.

    Args:
        normal: The systems, as functions of what is sought: they would not fit into memory.
        wanted: Their right-hand sides.
        diagonal: Their diagonals, by which each number is scaled.
    """
    found, left = torch.zeros_like(wanted), wanted.clone()
    scaled = left / diagonal
    way, size = scaled, _dots(left, scaled)
    enough = TOLERANCE**2 * size
    for steps in range(MOST_STEPS):
        if bool((size <= enough).all()):
            return found, steps
        pulled = normal(way)
        length = size / _dots(way, pulled).clamp_min(torch.finfo(size.dtype).tiny)
        found, left = found + length * way, left - length * pulled
        scaled = left / diagonal
        size, before = _dots(left, scaled), size
        way = scaled + size / before.clamp_min(torch.finfo(size.dtype).tiny) * way
    return found, MOST_STEPS


def _dots(one: Tensor, other: Tensor) -> Float[Tensor, "heads 1 1"]:
    return (one * other).sum((1, 2), keepdim=True)
