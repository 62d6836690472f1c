"""What the bundles of all chips share: the network repairs start from, how it is carried out.

A base is a folder of its own, written once. It needs none of the code that the network was built
with: a network of whole numbers can be computed from it alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from chipmend.bundle.container import read_container, sealed, write_container
from chipmend.bundle.lowering_record import lowering_of, record_of
from chipmend.errors import BundleError, ChipmendError, NetworkError, StoreError, in_a_line
from chipmend.hardware.array import Array
from chipmend.hardware.memory import Filled
from chipmend.hardware.placement import WeightShape, weights_on
from chipmend.network.coupling import Coupling, Moved, Positions
from chipmend.network.integer.network import Lowering
from chipmend.records import plain, rebuilt

KIND, VERSION = "chipmend base", 1
_FILE = "base.safetensors"
_PARTS = ("tensor", "constant", "block", "index")


@dataclass(frozen=True, eq=False)
class Base:
    """What all chips share.

    Args:
        array: The array.
        tensors: Parameters and buffers of that network by name.
        placed: Shapes of the weights that the array holds, by name.
        order: The same names in the order in which layers are executed, as words are filled.
        couplings: Channels that may be moved.
        lowering: How the network is carried out in integers; none if it stays one of real numbers.
    """

    array: Array
    tensors: Mapping[str, Tensor]
    placed: Mapping[str, tuple[WeightShape, ...]]
    order: tuple[str, ...]
    couplings: Sequence[Coupling]
    lowering: Lowering | None

    @property
    def filled(self) -> Filled:
        """Where the weights lie in the memory."""
        sizes = {name: self.tensors[name].numel() for name in self.order}
        return Filled.of(sizes, self.array.memory)

    def lost(self, unusable: np.ndarray, positions: Positions) -> dict[str, Tensor]:
        """The weights that are lost on a chip, in the network's own order of channels.

        Args:
            unusable: PEs that must not be used.
            positions: Where the channels of each coupling went; none if they stayed.
        """
        found = {}
        for name, shapes in self.placed.items():
            maps = [weights_on(unusable, shape, self.array) for shape in shapes]
            lost = torch.from_numpy(np.logical_or.reduce(maps))
            found[name] = lost.view(self.tensors[name].shape)
        for coupling, position in zip(self.couplings, positions, strict=False):
            for moved in coupling.moved:
                if moved.name in found:
                    found[moved.name] = moved.moved_to(found[moved.name], np.argsort(position))
        return found

    def sealed(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Its manifest, and its files."""
        held = {f"tensor:{name}": tensor for name, tensor in self.tensors.items()}
        if self.lowering is not None:
            constants = self.lowering.graph.constants
            held |= {f"constant:{name}": tensor for name, tensor in constants.items()}
        for at, coupling in enumerate(self.couplings):
            held[f"block:{at}"] = torch.from_numpy(coupling.block)
            for number, moved in enumerate(coupling.moved):
                held[f"index:{at}:{number}"] = torch.from_numpy(moved.index)
        manifest = {
            "format": KIND,
            "version": VERSION,
            "array": plain(self.array),
            "placed": [[name, plain(shapes)] for name, shapes in self.placed.items()],
            "order": list(self.order),
            "couplings": [
                [[moved.name, moved.axis, moved.groups] for moved in coupling.moved]
                for coupling in self.couplings
            ],
            "lowering": None if self.lowering is None else record_of(self.lowering),
        }
        files = {_FILE: save({name: _own(tensor) for name, tensor in held.items()})}
        return sealed(manifest, files), files


def write_base(base: Base, folder: Path) -> tuple[Path, str]:
    """Write a base into a folder of its own, unless it is there already.

    Args:
        base: The base.
        folder: Where all bases of a run are.

    Returns:
        Its folder, and its digest.

    Raises:
        StoreError: It cannot be written.
        BundleError: Its network is given something that JSON cannot hold.
    """
    manifest, files = base.sealed()
    path = folder / _folder_name(manifest["digest"])
    try:
        if not _is_whole(path):
            write_container(path, manifest, files)
    except StoreError:
        if not path.exists():  # else another worker has just written the same
            raise
    return path, manifest["digest"]


def copy_base(folder: Path, to: Path) -> None:
    """Copy a base, byte by byte, into the folder where all bases of a run are.

    Args:
        folder: The base's folder.
        to: The folder of bases.

    Raises:
        BundleError: It is no base.
        StoreError: It cannot be written.
    """
    manifest, files = read_container(folder, KIND, VERSION, {_FILE})
    path = to / _folder_name(manifest["digest"])
    if not _is_whole(path):
        write_container(path, manifest, files)


def _is_whole(path: Path) -> bool:
    """Whether a base is there, byte by byte as it was written."""
    try:
        read_container(path, KIND, VERSION, {_FILE})
    except BundleError:
        return False
    return True


def base_beside(bundle: Path, digest: str) -> Path:
    """The folder of a bundle's base, where it lies beside the bundle."""
    return bundle.resolve().parent / _folder_name(digest)


def _folder_name(digest: str) -> str:
    return f"base-{digest[:16]}"


def read_base(folder: str | Path) -> tuple[Base, str]:
    """Read a base.

    Returns:
        The base, and its digest.

    Raises:
        BundleError: It is missing, of a newer version, cut or altered, or calls what it may not.
    """
    path = Path(folder)
    manifest, files = read_container(path, KIND, VERSION, {_FILE})
    try:
        return _base(manifest, load(files[_FILE])), manifest["digest"]
    except ChipmendError:
        raise
    except Exception as error:  # a record that is none makes whatever reads it raise anything
        raise BundleError(
            f"{path} is no base: {in_a_line(error)}",
            hint="copy the folder again from where it came",
        ) from error


def _base(manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Base:
    by_part: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS}
    for key, tensor in tensors.items():
        part, _, name = key.partition(":")
        by_part[part][name] = tensor
    placed = {
        name: tuple(rebuilt(WeightShape, shape) for shape in shapes)
        for name, shapes in manifest["placed"]
    }
    record = manifest["lowering"]
    base = Base(
        array=rebuilt(Array, manifest["array"]),
        tensors=by_part["tensor"],
        placed=placed,
        order=tuple(manifest["order"]),
        couplings=[
            Coupling(
                by_part["block"][str(at)].numpy(),
                tuple(
                    Moved(name, axis, by_part["index"][f"{at}:{number}"].numpy(), groups)
                    for number, (name, axis, groups) in enumerate(moved)
                ),
            )
            for at, moved in enumerate(manifest["couplings"])
        ],
        lowering=None if record is None else lowering_of(record, by_part["constant"], placed),
    )
    if base.lowering is not None:
        _check_runs(base.lowering)
    if sorted(base.order) != sorted(placed) or not placed.keys() <= base.tensors.keys():
        raise ValueError("weights that are named and not there, or the other way round")
    return base


def _check_runs(lowering: Lowering) -> None:
    try:
        lowering.check()
    except NetworkError as error:
        raise ValueError(error.message) from error


def _own(tensor: Tensor) -> Tensor:
    """A copy that shares its memory with nothing."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
