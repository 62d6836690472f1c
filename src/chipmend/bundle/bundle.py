"""A bundle: what ships to one chip, a manifest and how its network differs from a base.

The manifest says which chip it is for, by the digest of its fault map; which base it needs, which
plan it came from, and how good the network is on the chip. The same inputs give the same bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chipmend.bundle.base import Base
from chipmend.bundle.container import SIGNATURE, read_container, sealed, write_container
from chipmend.bundle.delta import Repair, delta_of, repair_of
from chipmend.bundle.signing import Key, checked_signature
from chipmend.errors import BundleError, in_a_line
from chipmend.faults.maps import Chip
from chipmend.records import plain, rebuilt
from chipmend.steps import Recipe

KIND, VERSION = "chipmend bundle", 1
_FILE = "delta.safetensors"
_FIELDS = {
    *("format", "version", "files", "digest", "chip", "faults", "faults_version", "base", "plan"),
    *("steps", "in_codes", "accuracy", "test_samples", "size"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a network is said to do on its chip.

    Args:
        accuracy: Mean score on the test split.
        samples: How many samples that has.
    """

    accuracy: float
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForChip:
    """The chip that a bundle is for, as the bundle names it.

    Args:
        id: Identity of the chip.
        lot: Its production lot.
        wafer: Its wafer.
        x: Column of the die on the wafer.
        y: Row of the die on the wafer.
    """

    id: str
    lot: str = ""
    wafer: str = ""
    x: int | None = None
    y: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a bundle is.

    Args:
        bytes: All of its files but the manifest.
        full: A copy of the whole network instead: a byte for every weight in codes and four for
            every other number.
    """

    bytes: int
    full: int

    @property
    def share(self) -> float:
        """The one over the other."""
        return self.bytes / self.full


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle as it was read.

    Args:
        path: Its folder.
        chip: The chip that it is for.
        faults: Digest of the chip's fault map.
        faults_version: The map's version.
        base: Digest of the base.
        plan: Digest of the plan that it came from.
        steps: What was done.
        in_codes: Whether the network is one of whole numbers.
        expected: What it is said to do.
        size: How large it is.
        digest: Its own digest.
        signer: Who signed it, as the public key in hex; nobody if empty.
        content: How the network differs from the base.
    """

    path: Path
    chip: ForChip
    faults: str
    faults_version: int
    base: str
    plan: str
    steps: Recipe
    in_codes: bool
    expected: Expected
    size: Size
    digest: str
    signer: str
    content: bytes

    def repair(self, base: Base, digest: str) -> Repair:
        """The network that it holds.

        Args:
            base: The base.
            digest: The base's digest.

        Raises:
            BundleError: It is not the base that the bundle was made for.
        """
        if digest != self.base:
            raise BundleError(
                f"{self.path} is for the base {self.base[:16]}, not for {digest[:16]}",
                hint="give the base of the run that made the bundle",
            )
        try:
            return repair_of(self.content, base)
        except BundleError:
            raise
        except Exception as error:  # damaged tensors make whatever reads them raise anything
            raise BundleError(
                f"{self.path} does not fit its base: {in_a_line(error)}",
                hint="copy the bundle again from where it came",
            ) from error

    def check_is_for(self, chip: Chip) -> None:
        """Refuse another chip, and another test of the same chip.

        Raises:
            BundleError: Says which chip it is for.
        """
        if chip.id != self.chip.id:
            raise BundleError(
                f"{self.path} is for chip {self.chip.id}, not for {chip.id}",
                hint="give every chip its own bundle",
            )
        if chip.faults.digest() != self.faults:
            raise BundleError(
                f"{self.path} is for another fault map of chip {chip.id}: {self.faults[:16]}, "
                f"version {self.faults_version}, where the lot has {chip.faults.digest()[:16]}, "
                f"version {chip.faults.version}",
                hint="mend the chip for its new map, or give the lot that the bundle was made for",
            )


def write_bundle(
    folder: Path,
    repair: Repair,
    base: Base,
    *,
    base_digest: str,
    chip: Chip,
    plan: str,
    steps: Recipe,
    expected: Expected,
    key: Key | None = None,
) -> Bundle:
    """Write the bundle of one chip, whole or not at all.

    Args:
        folder: The bundle's folder; an older one is replaced.
        repair: The network.
        base: What all chips share.
        base_digest: Its digest.
        chip: The chip.
        plan: Digest of the plan.
        steps: What was done.
        expected: What the network does on the chip.
        key: Signs it; unsigned by default.

    Returns:
        The bundle.

    Raises:
        StoreError: It cannot be written.
    """
    content = delta_of(repair, base)
    coded = sum(found.numbers.numel() for found in (repair.codes or {}).values())
    numbers = sum(tensor.numel() for tensor in repair.tensors.values())
    manifest = {
        "format": KIND,
        "version": VERSION,
        "chip": plain(ForChip(id=chip.id, lot=chip.lot, wafer=chip.wafer, x=chip.x, y=chip.y)),
        "faults": chip.faults.digest(),
        "faults_version": chip.faults.version,
        "base": base_digest,
        "plan": plan,
        "steps": plain(steps),
        "in_codes": repair.codes is not None,
        "accuracy": expected.accuracy,
        "test_samples": expected.samples,
        "size": plain(Size(bytes=len(content), full=coded + 4 * (numbers - coded))),
    }
    whole = sealed(manifest, {_FILE: content})
    if key is not None:
        whole[SIGNATURE] = key.signature(whole["digest"])
    write_container(folder, whole, {_FILE: content})
    return _bundle(folder, whole, content, "" if key is None else key.public)


def sign_bundle(folder: Path, key: Key) -> None:
    """Sign a bundle, or sign it anew.

    Args:
        folder: The bundle's folder.
        key: The key.

    Raises:
        BundleError: It is no bundle.
        StoreError: It cannot be written.
    """
    manifest, files = read_container(folder, KIND, VERSION, {_FILE})
    write_container(folder, {**manifest, SIGNATURE: key.signature(manifest["digest"])}, files)


def copy_bundle(folder: Path, to: Path) -> None:
    """Copy a bundle, whole or not at all; its base is not copied.

    Args:
        folder: The bundle's folder.
        to: The copy's; an older one is replaced.

    Raises:
        BundleError: It is no bundle.
        StoreError: It cannot be written.
    """
    manifest, files = read_container(folder, KIND, VERSION, {_FILE})
    write_container(to, manifest, files)


def read_bundle(folder: str | Path, *, signed_by: str | None = None) -> Bundle:
    """Read a bundle.

    Args:
        folder: Its folder.
        signed_by: Public key, in hex, that it has to be signed with; otherwise a signature is
            looked at if there is one, and none is fine.

    Returns:
        The bundle.

    Raises:
        BundleError: It is missing, something else, of a newer version, cut or altered; or it is not
            signed with the key that was asked for.
        MissingExtraError: It is signed, and the extra ``signing`` is not installed.
    """
    path = Path(folder)
    manifest, files = read_container(path, KIND, VERSION, {_FILE})
    signer = checked_signature(path, manifest, signed_by)
    try:
        if set(manifest) - {SIGNATURE} != _FIELDS:
            raise ValueError(f"fields {sorted(set(manifest) ^ _FIELDS)}")
        return _bundle(path, manifest, files[_FILE], signer)
    except Exception as error:  # as above
        raise BundleError(
            f"{path} is no bundle: {in_a_line(error)}",
            hint="copy the bundle again from where it came",
        ) from error


def _bundle(path: Path, manifest: Mapping[str, Any], content: bytes, signer: str) -> Bundle:
    if manifest["size"]["full"] < 1:
        raise ValueError("a copy of nothing")
    said = {"accuracy": manifest["accuracy"], "samples": manifest["test_samples"]}
    return Bundle(
        path=path,
        chip=rebuilt(ForChip, manifest["chip"]),
        faults=str(manifest["faults"]),
        faults_version=int(manifest["faults_version"]),
        base=str(manifest["base"]),
        plan=str(manifest["plan"]),
        steps=rebuilt(Recipe, manifest["steps"]),
        in_codes=bool(manifest["in_codes"]),
        expected=rebuilt(Expected, said),
        size=rebuilt(Size, manifest["size"]),
        digest=manifest["digest"],
        signer=signer,
        content=content,
    )
