"""Codes as what they differ by from those that can be foretold: most by little, so they pack.

Where nothing is lost the code of a clean weight can be foretold from the weight and the step. What
remains is packed by deflate: by its Huffman codes alone, or with repetitions where that is shorter.
"""

import zlib

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from chipmend.errors import BundleError
from chipmend.hardware.memory import WeightMemory
from chipmend.network.integer.codes import Codes

_RAW = -15
"""Deflate without a header, with its largest window."""


def packed(content: bytes) -> bytes:
    """Pack bytes; the same ones always alike."""
    strategies = (zlib.Z_HUFFMAN_ONLY, zlib.Z_DEFAULT_STRATEGY)
    return min((_deflated(content, strategy) for strategy in strategies), key=len)


def unpacked(content: bytes, size: int) -> bytes:
    """Unpack so many bytes, and never more.

    Raises:
        BundleError: It is something else.
    """
    inflating = zlib.decompressobj(_RAW)
    try:
        found = inflating.decompress(content, size + 1)
    except zlib.error as error:
        raise BundleError(
            f"packed numbers that cannot be unpacked: {error}", hint="copy the bundle again"
        ) from error
    if len(found) != size or not inflating.eof or inflating.unused_data:
        raise BundleError(
            f"packed numbers that are not {size:,}, as they should be", hint="copy the bundle again"
        )
    return found


def residuals(
    codes: Codes, weight: Tensor, lost: Bool[Tensor, "..."], memory: WeightMemory
) -> UInt8[np.ndarray, " weights"]:
    """What codes differ by from those that are foretold, round the ring of all codes."""
    wanted = _codes(codes.numbers, memory)
    return (wanted - _foretold(codes.step, weight, lost, memory)) & _ring(memory)


def restored(
    found: UInt8[np.ndarray, " weights"],
    step: Tensor,
    weight: Tensor,
    lost: Bool[Tensor, "..."],
    memory: WeightMemory,
) -> Codes:
    """The codes again."""
    codes = (found + _foretold(step, weight, lost, memory)) & _ring(memory)
    numbers = torch.from_numpy(memory.values[codes]).to(torch.float32)
    return Codes(numbers.view(weight.shape), step)


def _foretold(
    step: Tensor, weight: Tensor, lost: Tensor, memory: WeightMemory
) -> UInt8[np.ndarray, " weights"]:
    """The codes of the nearest numbers; that of 0 where a PE is lost."""
    along = step.view(-1, *[1] * (weight.dim() - 1))
    least, most = int(memory.values.min()), int(memory.values.max())
    numbers = (weight.double() / along + 0.5).floor().clamp(least, most)
    return _codes(numbers.masked_fill(lost, 0), memory)


def _codes(numbers: Tensor, memory: WeightMemory) -> UInt8[np.ndarray, " weights"]:
    return memory.codes(numbers.reshape(-1).cpu().numpy())


def _ring(memory: WeightMemory) -> np.uint8:
    """Bits of a code: sums and differences are taken on these."""
    return np.uint8(2**memory.bits - 1)


def _deflated(content: bytes, strategy: int) -> bytes:
    deflating = zlib.compressobj(9, zlib.DEFLATED, _RAW, 9, strategy)
    return deflating.compress(content) + deflating.flush()
