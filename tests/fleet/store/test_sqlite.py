import resource
import subprocess
import sys

import pytest

from chipmend.errors import StoreError
from chipmend.fleet.store import SqliteStore
from contracts.store_contract import StoreContract


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: SqliteStore(tmp_path / "run")


def test_a_folder_that_cannot_be_made_is_our_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        SqliteStore(tmp_path / "file" / "run")


def test_a_file_that_is_no_store_is_our_error(tmp_path):
    (tmp_path / "run.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="cannot use"):
        SqliteStore(tmp_path)


def test_a_store_of_another_version_is_refused(tmp_path):
    store = SqliteStore(tmp_path)
    store.keep_fact("schema version", 99)
    store.close()
    with pytest.raises(StoreError, match="schema version 99"):
        SqliteStore(tmp_path)


FILL = """
import resource, sys
from pathlib import Path
from chipmend.errors import StoreError
from chipmend.fleet.store import SqliteStore

store = SqliteStore(Path(sys.argv[1]))
store.begin("x", "kept")
store.finish("x", "kept", "a" * 1000)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    for job in range(1000):
        store.begin("x", str(job))
        store.finish("x", str(job), "a" * 10_000)
except StoreError as error:
    print(error)
"""


def test_a_full_disk_is_our_error_and_what_was_kept_stays(tmp_path):
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    ended = subprocess.run(
        [sys.executable, "-c", FILL, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "cannot use" in ended.stdout
    assert "hint" in ended.stdout
    store = SqliteStore(tmp_path)
    kept = store.results("x")
    assert kept["kept"] == "a" * 1000
    assert all(content == "a" * 10_000 for job, content in kept.items() if job != "kept")
    store.keep_fact("room again", True)
    store.close()
