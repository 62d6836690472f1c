"""What all chips share: written once, read as it was, refused once damaged."""

import json
import shutil

import pytest

from bundle.altered import altered
from bundle.shipped import RECIPES
from chipmend.bundle import container, read_base, read_bundle, write_base
from chipmend.bundle.container import text_of
from chipmend.errors import BundleError
from conftest import same


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


def test_another_base_is_refused(all_shipped):
    base, digest = read_base(all_shipped["float"].base_path)
    with pytest.raises(BundleError, match="is for the base"):
        read_bundle(all_shipped["faq"].bundle.path).repair(base, digest)


def test_a_damaged_base_is_refused(all_shipped, tmp_path):
    folder = shutil.copytree(all_shipped["faq"].base_path, tmp_path / "base")
    for changes in ({"order": []}, {"placed": [["nothing", []]]}, {"couplings": [[["a", 0, 1]]]}):
        manifest = json.loads((folder / "manifest.json").read_bytes())
        altered(folder, reseal=True, **changes)
        with pytest.raises(BundleError, match="is no base"):
            read_base(folder)
        (folder / "manifest.json").write_bytes(text_of(manifest))
    altered(folder, order=["0.weight"])
    with pytest.raises(BundleError, match="was altered"):
        read_base(folder)


def test_a_damaged_base_is_written_anew(all_shipped, tmp_path):
    base = all_shipped["faq"].base
    path, digest = write_base(base, tmp_path)
    there = (path / "base.safetensors").stat().st_mtime_ns
    assert write_base(base, tmp_path) == (path, digest)
    assert (path / "base.safetensors").stat().st_mtime_ns == there, "a sound one is left alone"
    (path / "base.safetensors").write_bytes(b"cut off")
    write_base(base, tmp_path)
    assert read_base(path)[1] == digest
    assert list(tmp_path.iterdir()) == [path]
