import subprocess

import pytest

from chipmend.data.debian import unpacked_package
from chipmend.errors import DataError


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A machine on which only the programs exist that a test writes, as shell scripts."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def write(name, script):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return write


def test_a_package_is_fetched_and_unpacked_and_gone_afterwards(programs):
    programs("apt-get", '[ "$1 $2" = "download shoes" ] && echo sole > shoes_1.2_all.deb')
    programs("dpkg-deb", '[ "$1" = -x ] && /bin/mkdir -p "$3/usr" && /bin/cp "$2" "$3/usr/x"')
    with unpacked_package("shoes") as root:
        assert (root / "usr" / "x").read_text() == "sole\n"
    assert not root.parent.exists()


def test_the_folder_is_gone_even_after_an_error(programs):
    programs("apt-get", ": > shoes_1_all.deb")
    programs("dpkg-deb", '/bin/mkdir "$3"')
    kept = []
    with pytest.raises(ZeroDivisionError), unpacked_package("shoes") as root:  # noqa: PT012
        kept.append(root)
        raise ZeroDivisionError
    assert not kept[0].parent.exists()


@pytest.mark.usefixtures("programs")
def test_a_machine_without_debian_s_programs_is_an_error_of_ours():
    with pytest.raises(DataError, match="there is no apt-get"), unpacked_package("shoes"):
        pass


def test_a_package_that_does_not_exist_is_an_error_in_apt_s_words(programs):
    programs("apt-get", "echo W: old >&2; echo 'E: Unable to locate package shoes' >&2; exit 100")
    with (
        pytest.raises(DataError, match="failed: E: Unable to locate package shoes") as caught,
        unpacked_package("shoes"),
    ):
        pass
    assert "apt-get update" in caught.value.hint


def test_a_silent_failure_is_told_by_its_status(programs):
    programs("apt-get", "exit 100")
    with pytest.raises(DataError, match="status 100"), unpacked_package("shoes"):
        pass


def test_an_archive_that_cannot_be_unpacked_is_an_error_of_ours(programs):
    programs("apt-get", ": > shoes_1_all.deb")
    programs("dpkg-deb", "echo 'not a Debian archive' >&2; exit 2")
    with pytest.raises(DataError, match=r"dpkg-deb .*not a Debian archive"):  # noqa: SIM117
        with unpacked_package("shoes"):
            pass


def test_a_download_that_leaves_nothing_is_an_error_of_ours(programs):
    programs("apt-get", "exit 0")
    with pytest.raises(DataError, match="left 0 packages"), unpacked_package("shoes"):
        pass


def test_a_download_that_hangs_is_an_error_of_ours(monkeypatch):
    def hangs(command, **_):
        raise subprocess.TimeoutExpired(command, 600)

    monkeypatch.setattr(subprocess, "run", hangs)
    with pytest.raises(DataError, match="more than 10 minutes"), unpacked_package("shoes"):
        pass
