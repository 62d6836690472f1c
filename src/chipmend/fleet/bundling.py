"""Bundles of a campaign: written by the worker that mended a chip, and verified afterwards.

A folder of bundles has one for every chip that ships, and the bases that they share.
"""

import hashlib
import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from chipmend.bundle import (
    Base,
    Expected,
    Verified,
    copy_base,
    copy_bundle,
    read_base,
    read_bundle,
    read_key,
    verify,
    write_base,
)
from chipmend.bundle.base import base_beside
from chipmend.bundle.bundle import sign_bundle, write_bundle
from chipmend.bundle.making import base_of, repair_for
from chipmend.errors import BundleError, ChipmendError, MissingExtraError, PlanError
from chipmend.extras import imported
from chipmend.faults.maps import Chip
from chipmend.fleet.ledger import Bin, ChipRecord, ShippedBundle
from chipmend.hardware.array import Array
from chipmend.network.task import Task
from chipmend.recipes import is_patched
from chipmend.records import plain, rebuilt
from chipmend.repairs.workbench import Workbench
from chipmend.seeds import shuffled
from chipmend.steps import Recipe

logger = logging.getLogger(__name__)

FOLDER = "bundles"
Which = Literal["none", "sample", "all"]
LEAST_SAMPLE, SAMPLE_SHARE = 3, 0.05
_OURS = re.compile(r"base-.*|chip-[0-9a-f]{16}")
"""Names that folders have here whose chip has no plain name."""
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Bundling:
    """Where bundles go.

    Args:
        folder: The run folder.
        plan: Digest of the plan.
        key: File of the private key that signs them; unsigned by default.
    """

    folder: Path
    plan: str
    key: Path | None = None

    def write(
        self, bench: Workbench, recipe: Recipe, chip: Chip, array: Array, before: Base | None
    ) -> ShippedBundle:
        """Write the bundle of one chip.

        Args:
            bench: The bench that it was repaired on.
            recipe: What was done.
            chip: The chip.
            array: The array.
            before: The base of what the chip was shipped before, if it was shipped anything.
        """
        place = Path(FOLDER) / folder_name(chip.id)
        if before is not None and is_patched(recipe):
            base = before
        else:
            base = base_of(bench.calibration, array, recipe)
        _, digest = write_base(base, self.folder / FOLDER)
        scores = bench.test(recipe, chip.faults)
        bundle = write_bundle(
            self.folder / place,
            repair_for(bench, recipe, chip),
            base,
            base_digest=digest,
            chip=chip,
            plan=self.plan,
            steps=bench.history(recipe),
            expected=Expected(accuracy=float(scores.mean()), samples=len(scores)),
            key=None if self.key is None else read_key(self.key),
        )
        return ShippedBundle(
            folder=place.as_posix(),
            digest=bundle.digest,
            bytes=bundle.size.bytes,
            full=bundle.size.full,
        )

    def copy_base(self, base: Path) -> None:
        """Copy the base of bundles that chips keep, from its folder."""
        copy_base(base, self.folder / FOLDER)

    def keep(self, record: ChipRecord, folder: Path) -> ChipRecord:
        """Copy the bundle of a chip that keeps it, from the folder where it lies.

        Args:
            record: What becomes of the chip, its bundle as it was.
            folder: Where that lies.

        Returns:
            The same, with a bundle that nobody has verified here.
        """
        assert record.bundle is not None
        if not self._has(record.bundle):
            copy_bundle(folder, self.folder / record.bundle.folder)
        return replace(record, bundle=replace(record.bundle, verified=None))

    def _has(self, bundle: ShippedBundle) -> bool:
        """Whether a bundle is there already."""
        try:
            return read_bundle(self.folder / bundle.folder).digest == bundle.digest
        except ChipmendError:
            return False


def check_shipping(which: object, key: Path | None, run: object) -> None:
    """Refuse what could not be done once all chips are mended.

    Args:
        which: Which bundles are to be verified.
        key: File of the key that is to sign them, if any is.
        run: The run folder, if there is one.

    Raises:
        PlanError: There is no such choice, or bundles are to be signed and none is written.
        BundleError: The file is missing, or no key.
        MissingExtraError: The extra ``signing`` is not installed.
    """
    if which not in get_args(Which):
        raise PlanError(
            f"bundles to verify: {which!r}", hint=f"give {' or '.join(get_args(Which))}"
        )
    if key is not None and run is None:
        raise PlanError(
            "a key to sign bundles with, and no folder to write them to",
            hint="give a run folder as well",
        )
    if key is not None:
        read_key(key)


def folder_name(chip: str) -> str:
    """A name for the folder of a chip's bundle, whatever the chip is called.

    Example:
        >>> folder_name("W3-07"), folder_name("../up")
        ('W3-07', 'chip-8c722b8ae2c9de45')
    """
    if _PLAIN.fullmatch(chip) and not _OURS.fullmatch(chip):
        return chip
    return f"chip-{hashlib.sha256(chip.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, eq=False)
class Verifying:
    """Verifies one bundle: picklable, and the same for every worker.

    Args:
        task: The clean network and its data.
        folder: The run folder.
        runtime: Whether another runtime is asked.
    """

    task: Task
    folder: Path
    runtime: bool

    def __call__(
        self, job: tuple[Chip, ShippedBundle], tick: Callable[[float], object]
    ) -> dict[str, Any]:
        """What a bundle came to on its chip, as JSON can hold it."""
        chip, shipped = job
        tick(0.0)
        bundle = read_bundle(self.folder / shipped.folder)
        base, digest = read_base(base_beside(bundle.path, bundle.base))
        found = verify(
            bundle,
            base,
            digest,
            chip,
            self.task.test,
            self.task.metric,
            network=self.task.fresh_network(),
            runtime=self.runtime,
        )
        return plain(found)


def chosen(records: Sequence[ChipRecord], which: Which, seed: int) -> list[str]:
    """The chips whose bundles are verified.

    Args:
        records: What became of all chips.
        which: Whether all are, or a sample: a twentieth, and three at least.
        seed: Chooses the sample.
    """
    bundled = [record.chip for record in records if record.bundle is not None]
    if which == "none":
        return []
    count = len(bundled) if which == "all" else max(LEAST_SAMPLE, _share(len(bundled)))
    return sorted(bundled[at] for at in shuffled(len(bundled), seed, "verify")[:count])


def _share(count: int) -> int:
    return math.ceil(SAMPLE_SHARE * count)


def as_written(
    records: Iterable[ChipRecord], chips: Mapping[str, Chip], folder: Path, key: Path | None
) -> Iterator[ChipRecord]:
    """What became of chips, once their bundles were looked at: failed, if one was damaged since.

    Args:
        records: What became of them so far; each has a bundle.
        chips: The chips by identity.
        folder: The run folder.
        key: File of the key that bundles have to be signed with; one that is not gets signed.
    """
    signing, sound = None if key is None else read_key(key), set[str]()
    for record in records:
        assert record.bundle is not None
        path = folder / record.bundle.folder
        try:
            bundle = read_bundle(path)
            bundle.check_is_for(chips[record.chip])
            if bundle.digest != record.bundle.digest:
                raise BundleError(f"{path} is another one than was written")
            if bundle.base not in sound:
                read_base(base_beside(path, bundle.base))
                sound.add(bundle.base)
            if signing is not None and bundle.signer != signing.public:
                sign_bundle(path, signing)
        except ChipmendError as error:
            reason = f"its bundle is not as it was written: {error.message}"
            hint = "put it back, or mend in a new run folder"
            record = replace(record, bin=Bin.FAILED, reason=f"{reason}; {hint}", met=False)
        yield record


def has_runtime() -> bool:
    """Whether another runtime can be asked; what is missing is told in the log."""
    try:
        imported("onnxruntime", extra="onnx")
        imported("onnxscript", extra="onnx")
    except MissingExtraError as error:
        logger.warning("bundles are verified without another runtime: %s", error)
        return False
    return True


def with_verdict(record: ChipRecord, result: Mapping[str, Any]) -> ChipRecord:
    """What became of a chip once its bundle was verified: failed, if the bundle does not hold.

    Args:
        record: What became of it so far.
        result: What the verification gave.
    """
    assert record.bundle is not None
    if "failed" in result:
        reason = f"its bundle cannot be verified: {result['failed']}"
        return replace(record, bin=Bin.FAILED, reason=reason, met=False)
    verified = rebuilt(Verified, result)
    record = replace(record, bundle=replace(record.bundle, verified=verified))
    if verified.holds:
        return record
    reason = f"its bundle does not hold: {verified.reason}"
    return replace(record, bin=Bin.FAILED, reason=reason, met=False)
