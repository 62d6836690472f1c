"""Folders with a manifest: written whole or not at all, refused once anything was altered."""

import os
import re
import shutil

import pytest

from bundle.altered import altered, refused
from bundle.shipped import shipped
from chipmend.bundle import read_bundle
from chipmend.errors import StoreError


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


def test_a_manifest_that_says_a_thing_twice_or_otherwise_is_refused(copy):
    """A reader that takes the first of two would take what nobody wrote."""
    for place, change in enumerate(
        (
            lambda text: text.replace(b"{", b'{"accuracy": 0.9999,', 1),
            lambda text: text.replace(b"\n ", b"\n  ", 1),
            lambda text: text.rstrip(),
            lambda text: re.sub(rb'"accuracy": [0-9.]+', b'"accuracy": NaN', text),
            lambda text: re.sub(rb'"accuracy": [0-9.]+', b'"accuracy": 1e999', text),
        )
    ):
        path = copy(("faq", "remapped", "float", "pruned", "live")[place]) / "manifest.json"
        path.write_bytes(change(path.read_bytes()))
        refused(path.parent, "is not as it was written")


def test_a_pipe_is_not_waited_for(copy):
    path = copy() / "manifest.json"
    path.unlink()
    os.mkfifo(path)
    refused(path.parent, "is no file")
