"""Ten thousand mutated files: bundles, bases and lots are refused, or are what they were.

No other exception than ours may come out, and whatever is read has to be what was written.
"""

import contextlib
import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import chipmend as cm
from chipmend.bundle import read_base, read_bundle
from chipmend.bundle.container import digest_of_manifest, text_of
from chipmend.errors import BundleError, LotError
from chipmend.faults import read_csv, read_lot, write_lot

BUNDLES, BASES, LOTS, CSVS = 4000, 1000, 4000, 1500
assert BUNDLES + BASES + LOTS + CSVS > 10_000
SPLICES = (b"[", b"{", b'"', b"9" * 30, b"-1", b"null", b"true", b"1e999", b"\x00", b"\xff\xff")


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """A file after some bytes were flipped, cut out, doubled, spliced in, or left off."""
    changed = bytearray(content)
    for _ in range(int(random.integers(1, 4))):
        at = int(random.integers(len(changed) + 1))
        end = min(len(changed), at + int(2 ** random.uniform(0, 8)))
        match random.integers(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << int(random.integers(8))
            case 1:
                del changed[at:end]
            case 2:
                changed[at:at] = changed[at:end]
            case 3:
                changed[at:at] = SPLICES[random.integers(len(SPLICES))]
            case 4 if at < end:
                changed[at:end] = random.bytes(end - at)
            case _:
                del changed[at:]
    return bytes(changed)


def mutations(path, count, seed):
    """Put one mutation after the other into a file, and in the end what was there."""
    random, content = np.random.default_rng(seed), path.read_bytes()
    for _ in range(count):
        changed = mutated(content, random)
        if changed != content:
            path.write_bytes(changed)
            yield changed
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["remapped", "float"])
@pytest.mark.parametrize("file", ["manifest.json", "delta.safetensors"])
def test_bundles(all_shipped, tmp_path, name, file):
    made = all_shipped[name]
    folder = shutil.copytree(made.bundle.path, tmp_path / "b")
    base, digest = read_base(made.base_path)
    tried = 0
    for _ in mutations(folder / file, BUNDLES // 4, seed=len(name)):
        tried += 1
        try:
            found = read_bundle(folder)
            found.repair(base, digest)
        except BundleError:
            continue
        assert replace(found, path=made.bundle.path) == made.bundle
    assert tried > 0.95 * BUNDLES // 4


@pytest.mark.parametrize("name", ["remapped", "compensated"])
def test_what_is_inside_a_bundle(all_shipped, name):
    """Whoever can mend the digests can write what they like, but break nothing by it."""
    made = all_shipped[name]
    random = np.random.default_rng(1)
    for _ in range(BUNDLES // 4):
        content = mutated(made.bundle.content, random)
        try:
            repair = replace(made.bundle, content=content).repair(made.base, made.base_digest)
        except BundleError:
            continue
        for weight, codes in (repair.codes or {}).items():
            assert codes.numbers.shape == made.base.tensors[weight].shape
            assert codes.numbers.abs().max() <= 128
        assert repair.bypassed.shape == (6, 5)


@pytest.mark.parametrize("file", ["manifest.json", "base.safetensors"])
def test_bases(all_shipped, tmp_path, file):
    made = all_shipped["remapped"]
    folder = shutil.copytree(made.base_path, tmp_path / "base")
    for _ in mutations(folder / file, BASES // 2, seed=2):
        try:
            found, digest = read_base(folder)
        except BundleError:
            continue
        assert digest == made.base_digest
        assert found.sealed() == made.base.sealed()


def lot():
    array = cm.Array(rows=9, cols=7, memory=cm.WeightMemory(words=60))
    made = cm.make_chips(
        array, rate=0.2, count=4, stuck=cm.StuckAt(rate=0.05), macs=cm.MacsAt(rate=0.1), lot="L"
    )
    dead = replace(made[0].faults, dead_rows=((3, 2),), dead_cols=(1,), fatal="clock")
    return cm.Lot.of([*made, cm.Chip("dead", dead, wafer="W", x=1, y=-2)])


def test_lots(tmp_path):
    made = lot()
    path = write_lot(made, tmp_path / "lot.npz")
    for _ in mutations(path, LOTS, seed=3):
        try:
            found = list(read_lot(path))
        except LotError:
            continue
        assert found == list(made)


def test_csvs(tmp_path):
    """A CSV has no digest: other faults may be read from it, but nothing else may happen."""
    path = cm.write_csv(lot(), tmp_path / "lot.csv")
    array = cm.Array(rows=9, cols=7, memory=cm.WeightMemory(words=60))
    for _ in mutations(path, CSVS, seed=4):
        try:
            found = read_csv(path, array)
        except LotError:
            continue
        assert all(chip.faults.faulty_pes.shape == (9, 7) for chip in found)


JUNK = (None, True, -1, 0, 7, 10**30, 0.5, "", "x", "../x", [], [[]], {}, {"a": 1}, [None] * 3)


def leaves(tree, path=()):
    """Every place in a JSON value."""
    yield path
    items = enumerate(tree) if isinstance(tree, list) else getattr(tree, "items", dict)()
    for key, item in items:
        yield from leaves(item, (*path, key))


def with_junk(manifest, random):
    """A manifest with something else in one of its places, under a digest that fits."""
    changed = copy.deepcopy(manifest)
    places = [path for path in leaves(manifest) if path and path[0] not in ("digest", "files")]
    *way, last = places[random.integers(len(places))]
    inside = changed
    for key in way:
        inside = inside[key]
    inside[last] = JUNK[random.integers(len(JUNK))]
    return {**changed, "digest": digest_of_manifest(changed)}


@pytest.mark.parametrize("name", ["remapped", "float"])
def test_manifests_of_whoever_can_mend_digests(all_shipped, tmp_path, name):
    made, random = all_shipped[name], np.random.default_rng(5)
    folders = [
        (shutil.copytree(path, tmp_path / kind), read)
        for kind, path, read in (
            ("bundle", made.bundle.path, read_bundle),
            ("base", made.base_path, read_base),
        )
    ]
    for folder, read in folders:
        path = folder / "manifest.json"
        manifest = json.loads(path.read_bytes())
        for _ in range(BASES // 2):
            path.write_bytes(text_of(with_junk(manifest, random)))
            with contextlib.suppress(BundleError):
                read(folder)
