import errno
import hashlib
import os
import stat
import threading
from pathlib import Path

import pytest

from chipmend.errors import StoreError
from chipmend.files import cache_folder, digest_of_file, write_bytes, written_whole


def everything_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_and_its_folders_made(tmp_path):
    path = tmp_path / "a" / "b" / "x.bin"
    assert write_bytes(path, b"content") == path
    assert path.read_bytes() == b"content"
    assert everything_in(path.parent) == ["x.bin"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_file_has_the_rights_that_the_user_s_mask_leaves(tmp_path):
    before = os.umask(0o077)
    try:
        path = write_bytes(tmp_path / "secret", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_behind_a_link_the_file_itself_is_replaced(tmp_path):
    target = write_bytes(tmp_path / "a" / "target", b"old")
    link = tmp_path / "link"
    link.symlink_to(target)
    write_bytes(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert everything_in(tmp_path) == ["a", "link"]


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()))
    reader.start()
    write_bytes(pipe, b"content")
    reader.join()
    assert heard == [b"content"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_an_older_file_is_replaced_only_at_the_end(tmp_path):
    path = write_bytes(tmp_path / "x", b"old and long")
    with written_whole(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old and long"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("old", [None, b"old"])
def test_an_error_midway_leaves_the_old_content_and_nothing_else(tmp_path, error, old):
    path = tmp_path / "x"
    if old is not None:
        write_bytes(path, old)
    with pytest.raises(error), written_whole(path) as stream:  # noqa: PT012
        stream.write(b"half")
        raise error
    assert everything_in(tmp_path) == ([] if old is None else ["x"])
    assert old is None or path.read_bytes() == old


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_an_error_of_ours_and_leaves_the_old_content(tmp_path, monkeypatch, call):
    path = write_bytes(tmp_path / "x", b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), full)
    with pytest.raises(StoreError, match=r"cannot write .*x: No space left on device") as caught:
        write_bytes(path, b"new")
    assert caught.value.hint
    assert path.read_bytes() == b"old"
    assert everything_in(tmp_path) == ["x"]


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path):
    write_bytes(tmp_path / "file", b"")
    with pytest.raises(StoreError, match="cannot write"):
        write_bytes(tmp_path / "file" / "x", b"new")
    assert everything_in(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_an_error_of_ours(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="Permission denied"):
        write_bytes(tmp_path / "x", b"new")


def test_a_file_is_not_written_over_a_folder(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(StoreError, match="cannot write"):
        write_bytes(tmp_path / "x", b"new")
    assert everything_in(tmp_path) == ["x"]


def test_a_file_is_not_left_open(tmp_path):
    kept = []
    with written_whole(tmp_path / "x") as stream:
        kept.append(stream)
    assert kept[0].closed


def test_the_digest_of_a_file_is_that_of_its_content(tmp_path):
    content = bytes(range(256)) * 5000
    path = write_bytes(tmp_path / "x", content)
    assert digest_of_file(path) == hashlib.sha256(content).hexdigest()
    assert digest_of_file(path, hashlib.md5) == hashlib.md5(content).hexdigest()


def test_the_cache_is_where_the_user_says_else_where_the_system_says(monkeypatch):
    monkeypatch.setenv("CHIPMEND_CACHE", "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/system")
    assert cache_folder("data") == Path("/own/data")
    monkeypatch.delenv("CHIPMEND_CACHE")
    assert cache_folder("data") == Path("/system/chipmend/data")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder("data") == Path("/home/someone/.cache/chipmend/data")


def test_without_a_home_the_cache_is_asked_for_only_where_it_is_needed(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setenv("CHIPMEND_CACHE", "/c")
    assert cache_folder("x") == Path("/c/x")
    monkeypatch.delenv("CHIPMEND_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(StoreError, match="no home folder"):
        cache_folder("x")
