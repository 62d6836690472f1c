"""What one chip's bundle holds beside its manifest: how its network differs from the base.

Weights in codes are their steps and what codes differ by from those that can be foretold; all other
tensors are there if they differ, byte by byte from the base's. Bytes are packed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool
from safetensors.torch import load, save
from torch import Tensor

from chipmend.bundle.base import Base
from chipmend.bundle.residuals import packed, residuals, restored, unpacked
from chipmend.errors import BundleError
from chipmend.network.coupling import Positions
from chipmend.network.integer.codes import Codes


@dataclass(frozen=True, eq=False)
class Repair:
    """A network that was repaired for one chip, in the network's own order of channels.

    Args:
        tensors: Its parameters and buffers by name; of weights in codes what these stand for.
        codes: Its weights in codes, by name; none if it stays one of real numbers.
        positions: Where the channels of each coupling go on the chip; none if they stay.
        bypassed: PEs that are bypassed.
    """

    tensors: Mapping[str, Tensor]
    codes: Mapping[str, Codes] | None
    bypassed: Bool[np.ndarray, "rows cols"]
    positions: Positions = field(default_factory=tuple)


def delta_of(repair: Repair, base: Base) -> bytes:
    """How a repair differs from the base, as the bytes of a safetensors file."""
    held = {
        "bypassed": torch.from_numpy(np.packbits(repair.bypassed)),
        **{f"position:{at}": torch.from_numpy(p) for at, p in enumerate(repair.positions)},
    }
    codes = repair.codes or {}
    if codes:
        lost = base.lost(repair.bypassed, repair.positions)
        each = [
            residuals(codes[name], base.tensors[name], lost[name], base.array.memory)
            for name in base.order
        ]
        held["codes"] = _tensor(packed(np.concatenate(each).tobytes()))
        held |= {f"step:{name}": found.step.cpu() for name, found in codes.items()}
    for name, clean in base.tensors.items():
        if name not in codes and not torch.equal(clean, repair.tensors[name].cpu()):
            held[f"tensor:{name}"] = _tensor(packed(_difference(repair.tensors[name].cpu(), clean)))
    return save({name: tensor.contiguous() for name, tensor in held.items()})


def repair_of(content: bytes, base: Base) -> Repair:
    """The repaired network again.

    Args:
        content: As ``delta_of`` gave it.
        base: The base that it was worked out for.

    Raises:
        BundleError: It does not fit the base.
    """
    held = load(content)
    rows, cols = base.array.rows, base.array.cols
    packed_bits = held["bypassed"].numpy()
    if packed_bits.shape != (-(-rows * cols // 8),):
        raise BundleError(
            f"{8 * packed_bits.size} PEs that may be bypassed, where the array has {rows * cols}",
            hint="give the base that the bundle names",
        )
    bypassed = np.unpackbits(packed_bits, count=rows * cols).astype(bool).reshape(rows, cols)
    positions = _positions(held, base)
    codes = None
    if "codes" in held:
        codes = _codes(held, base, base.lost(bypassed, positions))
    tensors = dict(base.tensors)
    for key, differs in held.items():
        part, _, name = key.partition(":")
        if part == "tensor":
            tensors[name] = _with_difference(base.tensors[name], differs)
    for name, found in (codes or {}).items():
        tensors[name] = found.weight()
    return Repair(tensors, codes, bypassed, positions)


def _positions(held: Mapping[str, Tensor], base: Base) -> Positions:
    count = sum(key.startswith("position:") for key in held)
    if count not in (0, len(base.couplings)):
        raise BundleError(
            f"{count} mappings of channels for {len(base.couplings)} couplings",
            hint="give the base that the bundle names",
        )
    found = [held[f"position:{at}"].numpy() for at in range(count)]
    for position, coupling in zip(found, base.couplings, strict=False):
        if not np.array_equal(np.sort(position), np.arange(len(coupling.block))):
            raise BundleError("a mapping of channels that is none", hint="copy the bundle again")
    return tuple(found)


def _codes(held: Mapping[str, Tensor], base: Base, lost: Mapping[str, Tensor]) -> dict[str, Codes]:
    memory, sizes = base.array.memory, base.filled.sizes
    whole = np.frombuffer(unpacked(_bytes(held["codes"]), sum(sizes.values())), np.uint8)
    if whole.max(initial=0) >> memory.bits:
        raise BundleError("codes with more bits than a word has", hint="copy the bundle again")
    ends = np.cumsum(list(sizes.values()))[:-1]
    found = {}
    for name, residual in zip(sizes, np.split(whole, ends), strict=True):
        weight, step = base.tensors[name], held[f"step:{name}"]
        if step.dtype != torch.float64 or step.shape != weight.shape[:1] or not bool(step.all()):
            raise BundleError(f"{name} has steps that are none", hint="copy the bundle again")
        found[name] = restored(residual, step, weight, lost[name], memory)
    return {name: found[name] for name in base.placed}


def _difference(changed: Tensor, clean: Tensor) -> bytes:
    """Which bits of two tensors differ, the first bytes of all numbers ahead of the second ones."""
    return (_planes(changed) ^ _planes(clean)).tobytes()


def _with_difference(clean: Tensor, differs: Tensor) -> Tensor:
    planes = _planes(clean)
    found = np.frombuffer(unpacked(_bytes(differs), planes.size), np.uint8) ^ planes.ravel()
    whole = found.reshape(planes.shape).T.reshape(-1).copy()
    return torch.from_numpy(whole).view(clean.dtype).view(clean.shape)


def _planes(tensor: Tensor) -> np.ndarray:
    flat = tensor.detach().contiguous().view(-1)
    return flat.view(torch.uint8).view(len(flat), -1).numpy().T


def _tensor(content: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(content, np.uint8).copy())


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()
