"""Which outputs of which weight the left operands of products of activations are, such as queries.

Outputs of all weights are replaced by numbers that tell them apart, and looked for in the operands:
what only moves and scales numbers hands them on. What is found is then tried: outputs are mixed,
and right operands as it takes to make up for it; the network has to do what it did.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from chipmend.network.dynamic import DynamicProducts
from chipmend.network.evaluate import device_of, evaluating
from chipmend.network.gemm import Gemm, gemms
from chipmend.network.products import Product, Products

TOLERANCE = 1e-3
"""How far outputs may move, relative to their spread: rounding of sums in another order."""


@dataclass(frozen=True, eq=False)
class Query:
    """Where the left operand of one product of activations comes from.

    Args:
        product: Which of the network's products of activations it is, in the order of a pass.
        weight: The weight whose outputs it is.
        outputs: Which of them, for each head.
        heads: The head of each matrix of the operand, all samples in a row.
    """

    product: int
    weight: str
    outputs: Int64[Tensor, "heads k"]
    heads: Int64[Tensor, " matrices"]


def queries(model: nn.Module, inputs: Tensor) -> tuple[list[Query], int]:
    """Find the left operands that are outputs of a weight, and of no further use.

    Args:
        model: The network; it is left as it was.
        inputs: Inputs to try it on; what is found holds for as many inputs.

    Returns:
        What was found, and how often the inputs went through the network for it.
    """
    inputs = inputs.to(device_of(model))
    found = [query for query in _proposed(model, inputs) if query is not None]
    with evaluating(model), torch.no_grad():
        expected = tree_leaves(model(inputs))
    return [q for q in found if _is_one(model, q, inputs, expected)], 3 + len(found)


def mixed_(network: nn.Module, gemm: Gemm, mixing: Float[Tensor, "outputs outputs"]) -> None:
    """Replace the outputs of a weight by mixtures of them, in place.

    Args:
        network: The network.
        gemm: The weight, of that network.
        mixing: Of what each output is made.
    """
    with torch.no_grad():
        held = gemm.weight.flatten(1)
        gemm.weight.copy_((mixing.to(held) @ held).view(gemm.weight.shape))
        for bias in gemm.biases:
            if bias is not None:
                numbers = network.get_parameter(bias.name)[bias.first :][: len(mixing)]
                numbers.copy_(mixing.to(numbers) @ numbers)


def mixing_of(
    outputs: Int64[Tensor, "heads k"], mixtures: Float[Tensor, "heads k k"], size: int
) -> Float[Tensor, "size size"]:
    """Mixtures of each head's outputs as one of all outputs of a weight.

    Args:
        outputs: Which outputs each head has.
        mixtures: What each of a head's new outputs is made of: a row each.
        size: How many outputs there are.

    Example:
        >>> mixing_of(torch.tensor([[2, 0]]), torch.tensor([[[1.0, 5.0], [0.0, 1.0]]]), 3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [5.0, 0.0, 1.0]]
    """
    found = torch.eye(size, dtype=mixtures.dtype, device=mixtures.device)
    for of_head, mixture in zip(outputs.to(found.device), mixtures, strict=True):
        found[of_head[:, None], of_head] = mixture
    return found


class _Numbered(Products):
    """Replaces the outputs of all weights by numbers that tell them apart, or by ones."""

    def __init__(self, model: nn.Module, *, ones: bool) -> None:
        self._now: Product | None = None
        super().__init__(gemms(model), self._note)
        self._ones, self.first, count = ones, dict[str, int](), 1
        for gemm in self._gemms:
            self.first[gemm.name] = count
            count += len(gemm.weight)

    def _note(self, product: Product) -> None:
        self._now = product

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self._now = None
        given, product = super().__torch_dispatch__(func, types, args, kwargs), self._now
        if product is None:
            return given
        axis = -1 if product.window is None else 1
        if given.shape[axis] != len(product.outputs):
            return given
        first = self.first[product.gemm.name] + product.outputs.start
        numbers = torch.arange(first, first + len(product.outputs), device=given.device)
        if self._ones:
            numbers = torch.ones_like(numbers)
        after = given.dim() - 1 - axis % given.dim()
        return given.copy_(numbers.view(-1, *[1] * after))

    def weight_of(self, number: int) -> tuple[str, int]:
        """The weight and the output that a number stands for."""
        name = max((n for n in self.first if self.first[n] <= number), key=self.first.__getitem__)
        return name, number - self.first[name]


def _proposed(model: nn.Module, inputs: Tensor) -> Iterator[Query | None]:
    """What may be the source of each product's left operand."""
    found = [_numbered(model, inputs, ones=ones) for ones in (True, False)]
    (scales, _), (operands, numbered) = found
    for place, (scale, left) in enumerate(zip(scales, operands, strict=True)):
        if scale is not None and left is not None:
            yield _query(place, left / scale, numbered)


def _numbered(
    model: nn.Module, inputs: Tensor, *, ones: bool
) -> tuple[list[Tensor | None], "_Numbered"]:
    """Left operands once outputs of weights are numbers, and which numbers those are.

    Those are left out that are no matrix for each sample and head.
    """
    numbered, found = _Numbered(model, ones=ones), list[Tensor | None]()

    def meet(left: Tensor, right: Tensor) -> Tensor:
        apart = left.dim() > 2 and left.shape[:-2] == right.shape[:-2]
        found.append(left if apart else None)
        return right

    with evaluating(model), torch.no_grad(), DynamicProducts(model, meet), numbered:
        model(inputs)
    return found, numbered


def _query(place: int, left: Tensor, numbered: _Numbered) -> Query | None:
    """The source of a left operand, given the numbers that are in it."""
    rows = left.flatten(0, -3)
    if not torch.isfinite(rows).all() or not (rows - rows.round()).abs().max() < 0.01:
        return None
    if not (rows == rows[:, :1]).all() or not rows.min() >= 1:
        return None
    numbers, heads = rows[:, 0].round().long().unique(dim=0, return_inverse=True)
    sources = [[numbered.weight_of(int(n)) for n in head] for head in numbers]
    names = {name for head in sources for name, _ in head}
    outputs = torch.tensor([[output for _, output in head] for head in sources])
    if len(names) != 1 or outputs.unique().numel() != outputs.numel():
        return None
    return Query(place, names.pop(), outputs, heads)


def _is_one(model: nn.Module, query: Query, inputs: Tensor, expected: Sequence[object]) -> bool:
    """Whether mixed outputs are made up for by what that takes of the right operand."""
    network, generator = copy.deepcopy(model), torch.Generator().manual_seed(0)
    gemm = next(g for g in gemms(network) if g.name == query.weight)
    heads, k = query.outputs.shape
    mixtures = torch.eye(k) + 0.5 * torch.randn(heads, k, k, generator=generator) / k**0.5
    back = torch.linalg.inv(mixtures).mT.to(inputs.device)[query.heads]
    mixed_(network, gemm, mixing_of(query.outputs, mixtures, len(gemm.weight)))
    met = 0

    def meet(left: Tensor, right: Tensor) -> Tensor:  # noqa: ARG001
        nonlocal met
        met += 1
        if met - 1 != query.product:
            return right
        return (back.to(right.dtype) @ right.flatten(0, -3)).view(right.shape)

    with evaluating(network), torch.no_grad(), DynamicProducts(network, meet):
        found = tree_leaves(network(inputs))
    return all(map(_alike, expected, found))


def _alike(before: object, after: object) -> bool:
    if not isinstance(before, Tensor) or not isinstance(after, Tensor):
        return True
    spread = float(before.double().std(correction=0)) or 1.0
    return bool((after - before).abs().max() < TOLERANCE * spread)
