"""Matrix products of whole numbers, to the last bit, and as fast as the processor has them.

Where a processor multiplies bytes itself, products are computed so, in 32 bits. Elsewhere they are
taken in single precision, which is exact as long as no sum reaches ``2 ** 24``: rows in runs over
each of which none does.
"""

import functools
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int8, Int32
from torch import Tensor

from chipmend.network.integer.arithmetic import SINGLE

_product_of_bytes: Any = getattr(torch, "_int_mm", None)
AT_ONCE = 2**20
"""Numbers of the right operand that are brought to single precision together."""


@functools.cache
def multiplies_bytes() -> bool:
    """Whether the processor multiplies bytes by itself, and adds up in 32 bits without a loss."""
    if not getattr(torch.cpu, "_is_vnni_supported", bool)() or not _product_of_bytes:
        return False
    most, least = (torch.full((64, 64), byte, dtype=torch.int8) for byte in (127, -128))
    return bool((_product_of_bytes(most, least) == -64 * 127 * 128).all())


class WholeMatrix:
    """The left operand of a product of whole numbers.

    Args:
        numbers: From -128 to 127, whole.
        least: No number of the right operand is less; -128 or 0.
        added: What is added to each row of the product; nothing by default.
    """

    def __init__(
        self,
        numbers: Float[Tensor, "n k"],
        least: int,
        added: Int32[Tensor, "n 1"] | None = None,
    ) -> None:
        self._numbers = numbers.float()
        self._bytes = self._numbers.to(torch.int8)
        self._added = torch.zeros_like(self._bytes[:, :1], dtype=torch.int32)
        if least == 0:
            self._added += 128 * numbers.sum(1, keepdim=True).to(torch.int32)
        if added is not None:
            self._added += added
        self._adds = bool(self._added.any())

    def __call__(self, columns: Int8[Tensor, "k m"]) -> Int32[Tensor, "n m"]:
        """The product.

        Args:
            columns: Whole numbers of 8 bits; of unsigned ones, 128 less.
        """
        # of one row it is given, PyTorch 2.13 multiplies numbers that are not there
        if columns.device.type == "cpu" and multiplies_bytes() and len(columns) > 1:
            found = _product_of_bytes(self._bytes, columns)
        else:
            found = self._in_single_precision(columns)
        return found.add_(self._added) if self._adds else found

    def _in_single_precision(self, columns: Tensor) -> Tensor:
        found = columns.new_empty(len(self._numbers), columns.shape[1], dtype=torch.int32)
        width = max(1, AT_ONCE // max(1, len(columns)))
        for first in range(0, columns.shape[1], width):
            some = columns[:, first : first + width].float()
            parts = (
                self._numbers[:, r.start : r.stop] @ some[r.start : r.stop] for r in self._runs
            )
            into = found[:, first : first + width]
            into.copy_(next(parts))
            for part in parts:
                into.add_(part.to(torch.int32))
        return found

    @functools.cached_property
    def _runs(self) -> list[range]:
        return list(runs(self._numbers, 128))


class WholeMatrices:
    """Left operands of as many products of whole numbers, in floating point that holds every sum.

    Args:
        numbers: From -128 to 127, whole.
        least: No number of the right operands is less; -128 or 0.
        added: What is added to each row of the products; nothing by default.
    """

    def __init__(
        self,
        numbers: Float[Tensor, "... n k"],
        least: int,
        added: Int32[Tensor, "n 1"] | None = None,
    ) -> None:
        self._zero, self._added = 0 if least < 0 else -128, added
        reach = numbers.shape[-1] * 128 * (128 if least < 0 else 255)
        self._numbers = numbers.to(torch.float32 if reach < SINGLE else torch.float64)

    def __call__(self, columns: Int8[Tensor, "... k m"]) -> Int32[Tensor, "... n m"]:
        """The products.

        Args:
            columns: Whole numbers of 8 bits; of unsigned ones, 128 less.
        """
        found = (self._numbers @ (columns.to(self._numbers.dtype) - self._zero)).to(torch.int32)
        return found if self._added is None else found.add_(self._added)


def signed(numbers: Tensor) -> Int8[Tensor, "..."]:
    """Bytes with a sign: of unsigned ones, 128 less."""
    return numbers if numbers.dtype == torch.int8 else (numbers ^ 128).view(torch.int8)


def runs(matrix: Float[Tensor, "n k"], largest: int) -> Iterator[range]:
    """Columns of a matrix in runs, over each of which no sum of products reaches ``2 ** 24``.

    Args:
        matrix: Whole numbers of 8 bits.
        largest: No number of the other operand is larger.

    Example:
        >>> list(runs(torch.full((1, 1100), 127.0), 255))
        [range(0, 518), range(518, 1036), range(1036, 1100)]
    """
    reach = (largest * matrix.abs().double()).cumsum(1)
    first, before = 0, torch.zeros_like(reach[:, 0])
    while first < matrix.shape[1]:
        over = (reach - before[:, None] >= SINGLE).any(0)
        end = int(over.to(torch.uint8).argmax()) if bool(over.any()) else matrix.shape[1]
        yield range(first, end)
        first, before = end, reach[:, end - 1]
