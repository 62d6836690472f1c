"""Apply a bundle: the files that a loader, a runtime or PyTorch wants, made of bundle and base."""

import logging
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from safetensors.torch import save

from chipmend.bundle.base import Base
from chipmend.bundle.bundle import Bundle
from chipmend.bundle.delta import Repair
from chipmend.bundle.verification import network_of
from chipmend.errors import BundleError
from chipmend.files import write_bytes
from chipmend.network.integer.onnx.writing import write_onnx

logger = logging.getLogger(__name__)

WEIGHTS, MEMORY, RUNTIME, BYPASS = "network.safetensors", "memory.bin", "network.onnx", "bypass.csv"
MADE = (WEIGHTS, MEMORY, RUNTIME, BYPASS)
"""Files that may be made."""


def apply_bundle(
    bundle: Bundle, base: Base, base_digest: str, folder: Path, *, onnx: bool = True
) -> list[Path]:
    """Write what a bundle comes to.

    Args:
        bundle: The bundle.
        base: What all chips share.
        base_digest: Its digest.
        folder: Where to.
        onnx: Whether a network of whole numbers is written as ONNX too (extra ``onnx``).

    Returns:
        ``network.safetensors``, parameters and buffers in PyTorch's names and order of channels;
        ``bypass.csv``, the PEs to bypass; and of networks of whole numbers ``memory.bin``, a byte
        for every word of the weight memory in order, channels where the chip has them, and
        ``network.onnx``. Where weights fill the memory several times there is no one image of it,
        which is told in the log.

    Raises:
        BundleError: The bundle is for another base.
        StoreError: A file cannot be written.
    """
    repair = bundle.repair(base, base_digest)
    content = {name: tensor.contiguous() for name, tensor in repair.tensors.items()}
    made = [
        write_bytes(folder / WEIGHTS, save(content)),
        write_bytes(folder / BYPASS, _bypass(repair).encode()),
    ]
    if repair.codes is not None:
        if base.filled.wraps:
            logger.warning(
                "no %s: the memory of %d words is filled several times; load each layer when it is "
                "computed, from %s",
                *(MEMORY, base.filled.words, WEIGHTS),
            )
        else:
            made.append(write_bytes(folder / MEMORY, memory_image(repair, base).tobytes()))
        if onnx:
            made.append(write_onnx(network_of(bundle, base, base_digest), folder / RUNTIME))
    return made


def memory_image(repair: Repair, base: Base) -> UInt8[np.ndarray, " words"]:
    """What a loader writes into the weight memory: a code for every word.

    Args:
        repair: A network of whole numbers.
        base: What all chips share.

    Raises:
        BundleError: Weights fill the memory several times.
    """
    assert repair.codes is not None
    filled, memory = base.filled, base.array.memory
    if filled.wraps:
        raise BundleError(
            f"weights fill the memory of {filled.words:,} words several times: there is no one "
            "image of it",
            hint="load each layer when it is computed, from network.safetensors",
        )
    image = np.zeros(filled.words, np.uint8)
    for name in filled.sizes:
        numbers = repair.codes[name].numbers
        for coupling, position in zip(base.couplings, repair.positions, strict=False):
            for moved in coupling.moved:
                if moved.name == name:
                    numbers = moved.moved_to(numbers, position)
        image[filled.addresses(name)] = memory.codes(numbers.flatten().numpy())
    return image


def _bypass(repair: Repair) -> str:
    rows, cols = np.nonzero(repair.bypassed)
    lines = [f"{row},{col}\n" for row, col in zip(rows.tolist(), cols.tolist(), strict=True)]
    return "row,col\n" + "".join(lines)
