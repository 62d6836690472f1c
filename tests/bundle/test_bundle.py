"""What is written is what is read, for the chip that it was made for and for no other."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import chipmend as cm
from bundle.shipped import RECIPES, shipped
from chipmend.bundle import container, read_base, read_bundle, write_base
from chipmend.bundle.container import digest_of_manifest
from chipmend.errors import BundleError, StoreError
from conftest import same


@pytest.mark.parametrize("name", RECIPES)
def test_the_network_that_is_read_is_the_one_that_was_written(all_shipped, name):
    made = all_shipped[name]
    base, digest = read_base(made.base_path)
    found = read_bundle(made.bundle.path).repair(base, digest)
    assert same(dict(found.tensors), dict(made.repair.tensors))
    assert (found.codes is None) == (made.repair.codes is None)
    for weight, codes in (made.repair.codes or {}).items():
        assert torch.equal(found.codes[weight].numbers, codes.numbers)
        assert torch.equal(found.codes[weight].step, codes.step)
    assert np.array_equal(found.bypassed, made.chip.faults.unusable)
    assert len(found.positions) == len(made.repair.positions)
    for one, other in zip(found.positions, made.repair.positions, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", RECIPES)
def test_the_base_that_is_read_is_the_one_that_was_written(all_shipped, name):
    made = all_shipped[name]
    base, digest = read_base(made.base_path)
    assert digest == made.base_digest
    assert base.array == made.base.array
    assert same(dict(base.tensors), dict(made.base.tensors))
    assert (base.placed, base.order) == (made.base.placed, made.base.order)
    assert same(base.lowering, made.base.lowering)
    assert base.sealed() == made.base.sealed()


def test_the_manifest_says_what_it_is_for(all_shipped):
    made = all_shipped["faq"]
    manifest = json.loads((made.bundle.path / "manifest.json").read_bytes())
    assert manifest["chip"] == {"id": "chip/faq", "lot": "L1", "wafer": "W2", "x": -1, "y": 4}
    assert manifest["faults"] == made.chip.faults.digest()
    assert manifest["base"] == made.base_digest
    assert manifest["accuracy"] == made.bench.test(made.recipe).mean()
    assert manifest["in_codes"] is True
    found = read_bundle(made.bundle.path)
    assert found == made.bundle
    assert found.steps == made.recipe


def test_the_same_inputs_give_the_same_bytes(all_shipped, made_task, tmp_path):
    for name in ("remapped", "float"):
        again = shipped(name, tmp_path, made_task)
        for old in sorted(all_shipped[name].bundle.path.iterdir()):
            assert (again.bundle.path / old.name).read_bytes() == old.read_bytes()
        for old in sorted(all_shipped[name].base_path.iterdir()):
            assert (again.base_path / old.name).read_bytes() == old.read_bytes()


def test_a_bundle_is_smaller_than_a_copy(all_shipped):
    sizes = {name: made.bundle.size for name, made in all_shipped.items()}
    for name, made in all_shipped.items():
        coded = sum(c.numbers.numel() for c in (made.repair.codes or {}).values())
        others = sum(t.numel() for t in made.repair.tensors.values()) - coded
        assert sizes[name].full == coded + 4 * others
        assert sizes[name].bytes == (made.bundle.path / "delta.safetensors").stat().st_size


def test_an_older_bundle_is_replaced_whole(all_shipped, tmp_path, made_task):
    folder = tmp_path / "bundle-faq"
    shutil.copytree(all_shipped["pruned"].bundle.path, folder)
    again = shipped("faq", tmp_path, made_task)
    assert again.bundle.path == folder
    assert read_bundle(folder).in_codes
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["bundle-faq", again.base_path.name]
    )


def test_where_nothing_can_be_written_nothing_is_left(made_task, tmp_path, monkeypatch):
    def full(self, *_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.rename", full)
    with pytest.raises(StoreError, match="No space left"):
        shipped("faq", tmp_path, made_task)
    assert list(tmp_path.iterdir()) == []


def test_two_workers_that_write_the_same_base_at_once_do_not_get_in_each_others_way(
    all_shipped, tmp_path, monkeypatch
):
    base, put = all_shipped["faq"].base, container._put

    def another_is_faster(draft, folder):
        shutil.copytree(draft, folder)
        draft.rename(folder)  # as if the folder had not been there a moment ago

    monkeypatch.setattr(container, "_put", another_is_faster)
    path, digest = write_base(base, tmp_path)
    monkeypatch.setattr(container, "_put", put)
    assert read_base(path)[1] == digest == all_shipped["faq"].base_digest
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def copy(all_shipped, tmp_path):
    """A copy of a bundle, to be altered."""

    def copied(name="faq"):
        return shutil.copytree(all_shipped[name].bundle.path, tmp_path / name)

    return copied


def altered(folder, *, reseal=False, **changes):
    path = folder / "manifest.json"
    manifest = {**json.loads(path.read_bytes()), **changes}
    if reseal:
        manifest["digest"] = digest_of_manifest(manifest)
    path.write_text(json.dumps(manifest))
    return folder


def refused(folder, said):
    with pytest.raises(BundleError, match=re.escape(said)) as caught:
        read_bundle(folder)
    assert caught.value.hint


def test_an_altered_manifest_is_refused(copy):
    refused(altered(copy(), accuracy=1.0), "was altered")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "chipmend base"}, "is no chipmend bundle but 'chipmend base'"),
        ({"version": 2}, "has version 2 of a chipmend bundle, this chipmend reads up to 1"),
        ({"version": "1"}, "has version '1'"),
        ({"version": True}, "has version True"),
        ({"files": {}}, "names other files"),
        ({"files": {"../delta.safetensors": {"bytes": 1, "sha256": ""}}}, "names other files"),
        ({"files": {"/etc/passwd": {"bytes": 1, "sha256": ""}}}, "names other files"),
        ({"files": {"delta.safetensors": 7}}, "does not say how large"),
        ({"files": {"delta.safetensors": {"bytes": 1, "sha256": ""}}}, "should have 1"),
        ({"more": 1}, "is no bundle"),
        ({"chip": {"id": 7}}, "is no bundle"),
        ({"steps": [{"kind": "nothing"}]}, "is no bundle"),
        ({"accuracy": "high"}, "is no bundle"),
    ],
)
def test_a_manifest_that_is_none_is_refused_whatever_its_digest_says(copy, changes, said):
    refused(altered(copy(), reseal=True, **changes), said)


def test_a_file_that_was_cut_or_altered_is_refused(copy):
    for change, said in (
        (lambda content: content[:-1], "bytes, and should have"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "digest does not match"),
    ):
        path = copy(name="faq" if said.startswith("bytes") else "pruned") / "delta.safetensors"
        path.write_bytes(change(path.read_bytes()))
        refused(path.parent, said)


def test_what_is_not_there_is_refused(copy, tmp_path):
    refused(tmp_path / "nowhere", "cannot read")
    folder = copy()
    (folder / "delta.safetensors").unlink()
    refused(folder, "cannot read")
    (folder / "manifest.json").write_bytes(b"")
    refused(folder, "is no JSON")
    (folder / "manifest.json").write_bytes(b"[1]")
    refused(folder, "is no manifest")
    (folder / "manifest.json").write_bytes(b"[" * 10**6)
    refused(folder, "is no JSON")


def test_a_manifest_of_a_gigabyte_is_not_read(copy):
    folder = copy()
    with (folder / "manifest.json").open("r+b") as stream:
        stream.truncate(10**9)  # sparse: it takes no room
    refused(folder, "has 1,000,000,000 bytes, and no manifest has more")


def test_another_base_is_refused(all_shipped):
    base, digest = read_base(all_shipped["float"].base_path)
    with pytest.raises(BundleError, match="is for the base"):
        read_bundle(all_shipped["faq"].bundle.path).repair(base, digest)


def test_what_does_not_fit_its_base_is_refused(all_shipped):
    made = all_shipped["remapped"]
    base, digest = read_base(made.base_path)
    other = replace(base, array=cm.Array(rows=60, cols=50))
    with pytest.raises(BundleError, match="where the array has 3000"):
        made.bundle.repair(other, digest)
    with pytest.raises(BundleError, match="couplings"):
        made.bundle.repair(replace(base, couplings=base.couplings[:0]), digest)
    more = {**base.tensors, "0.weight": torch.zeros(9, 1, 3, 3)}
    with pytest.raises(BundleError):
        made.bundle.repair(replace(base, tensors=more), digest)


def test_another_chip_and_another_map_of_the_chip_are_refused(all_shipped):
    made = all_shipped["faq"]
    made.bundle.check_is_for(made.chip)
    with pytest.raises(BundleError, match="is for chip chip/faq, not for chip/live"):
        made.bundle.check_is_for(all_shipped["live"].chip)
    again = replace(made.chip, faults=replace(made.chip.faults, dead_cols=(1,), version=2))
    with pytest.raises(BundleError, match="version 1, where the lot has version 2"):
        made.bundle.check_is_for(again)
    made.bundle.check_is_for(replace(made.chip, faults=replace(made.chip.faults, version=2)))


def test_a_base_that_calls_what_it_may_not_is_refused(all_shipped, tmp_path):
    folder = shutil.copytree(all_shipped["faq"].base_path, tmp_path / "base")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for operator, given, said in (
        ("relu_.default", [["self", {"value": "input"}]], "no operator of layers"),
        ("prims::copy_to.default", [], "no operator of layers"),
        ("nothing.default", [], "no operator of layers"),
        ("from_file.default", [["filename", "/etc/passwd"]], "gives an operator '/etc/passwd'"),
        ("relu.default", [["self", {"dtype": "load"}]], "gives an operator"),
        ("relu.default", [["self", {"value": 7}]], "gives an operator"),
    ):
        record = dict(manifest["lowering"])
        first = {**record["operations"][0], "operator": operator, "given": given}
        record["operations"] = [first, *record["operations"][1:]]
        altered(folder, reseal=True, lowering=record)
        with pytest.raises(BundleError, match=re.escape(said)):
            read_base(folder)


def test_a_damaged_base_is_refused(all_shipped, tmp_path):
    folder = shutil.copytree(all_shipped["faq"].base_path, tmp_path / "base")
    for changes in ({"order": []}, {"placed": [["nothing", []]]}, {"couplings": [[["a", 0, 1]]]}):
        manifest = json.loads((folder / "manifest.json").read_bytes())
        altered(folder, reseal=True, **changes)
        with pytest.raises(BundleError, match="is no base"):
            read_base(folder)
        (folder / "manifest.json").write_text(json.dumps(manifest))
    altered(folder, order=["0.weight"])
    with pytest.raises(BundleError, match="was altered"):
        read_base(folder)
