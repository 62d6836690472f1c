"""Einstein's sums over two tensors as batched products of matrices."""

import math
from collections.abc import Sequence

from torch import Tensor

from chipmend.errors import NetworkError


def as_product(equation: str, operands: Sequence[Tensor]) -> Tensor | None:
    """An Einstein's sum over two tensors as one batched product.

    Args:
        equation: As ``torch.einsum`` takes it.
        operands: The two.

    Returns:
        The sum; none where nothing is summed up over both, so that it is no product.

    Raises:
        NetworkError: An axis is summed up in one of them alone, or comes twice.

    Example:
        >>> import torch
        >>> x, y = torch.rand(2, 3, 4), torch.rand(2, 5, 4)
        >>> bool((as_product("bij,bkj->bik", [x, y]) == x @ y.mT).all())
        True
    """
    first, second, given = _axes_of(equation, operands)
    inner = [a for a in first if a in second and a not in given]
    if not inner:
        return None
    batch = [a for a in first if a in second and a in given]
    of_left, of_right = ([a for a in axes if a not in batch + inner] for axes in (first, second))
    if {*of_left, *of_right} - {*given} or any(len({*a}) < len(a) for a in (first, second, given)):
        raise NetworkError(
            f"a product of activations written as einsum {equation!r} cannot be laid on the array",
            hint="write it as products of two matrices, with matmul",
        )
    left = operands[0].permute([first.index(a) for a in batch + of_left + inner])
    right = operands[1].permute([second.index(a) for a in batch + inner + of_right])
    sizes = left.shape[: len(batch) + len(of_left)] + right.shape[len(batch) + len(inner) :]
    width = math.prod(left.shape[len(batch) + len(of_left) :])
    left = left.reshape(*left.shape[: len(batch)], -1, width)
    right = right.reshape(*right.shape[: len(batch)], width, -1)
    found = (left @ right).reshape(sizes)
    order = batch + of_left + of_right
    return found.permute([order.index(a) for a in given])


def _axes_of(equation: str, operands: Sequence[Tensor]) -> tuple[list[str], list[str], list[str]]:
    """Names of the axes of two tensors, and of those of the sum."""
    taken, arrow, given = equation.replace(" ", "").partition("->")
    first, second = taken.split(",")
    if not arrow:  # letters that come once, in their order, as NumPy has it
        letters = sorted(c for c in {*taken} - {*",."} if taken.count(c) == 1)
        given = ("..." if "..." in taken else "") + "".join(letters)
    pairs = list(zip((first, second), operands, strict=True))
    counts = [operand.dim() - len(axes.replace("...", "")) for axes, operand in pairs]
    most = max(
        count if "..." in axes else 0 for (axes, _), count in zip(pairs, counts, strict=True)
    )

    def named(axes: str, count: int) -> list[str]:
        before, dots, after = axes.partition("...")
        unnamed = [f"...{place}" for place in range(most - count, most)] if dots else []
        return [*before, *unnamed, *after]

    return named(first, counts[0]), named(second, counts[1]), named(given, most)
