import sqlite3

from chipmend.fleet.store import SqliteStore

VERSION_1 = """
CREATE TABLE facts (name TEXT NOT NULL PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE results (
    kind TEXT NOT NULL, job TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (kind, job)
);
CREATE TABLE attempts (
    id INTEGER NOT NULL PRIMARY KEY, kind TEXT NOT NULL, job TEXT NOT NULL, state TEXT NOT NULL,
    ee FLOAT NOT NULL, seconds FLOAT NOT NULL
);
INSERT INTO facts VALUES ('schema version', '1'), ('fingerprint', '{"seed": 0}');
INSERT INTO results VALUES ('mend', 'c0', '{"records": []}');
INSERT INTO attempts VALUES
    (1, 'mend', 'c0', 'finished', 9.0, 90.0), (2, 'mend', 'c1', 'lost', 1.0, 10.0),
    (3, 'mend', 'c1', 'running', 0.5, 5.0);
"""


def test_a_file_of_version_1_is_read_for_ever(tmp_path):
    with sqlite3.connect(tmp_path / "run.sqlite") as file:
        file.executescript(VERSION_1)
    file.close()
    store = SqliteStore(tmp_path)
    assert store.fact("fingerprint") == {"seed": 0}
    assert store.results("mend") == {"c0": {"records": []}}
    assert store.lost() == (1.5, 15.0)
    store.begin("mend", "c1")
    store.finish("mend", "c1", 1)
    assert store.results("mend")["c1"] == 1
    store.close()


def test_anyone_can_read_the_file_with_plain_sqlite(tmp_path):
    store = SqliteStore(tmp_path)
    store.begin("mend", "c0")
    store.progress("mend", "c0", 0.5, 5.0)
    store.finish("mend", "c0", {"a": 1})
    store.close()
    with sqlite3.connect(tmp_path / "run.sqlite") as file:
        assert file.execute("SELECT * FROM results").fetchall() == [("mend", "c0", '{"a": 1}')]
        found = file.execute("SELECT kind, job, state, ee, seconds FROM attempts").fetchall()
        assert found == [("mend", "c0", "finished", 0.5, 5.0)]
    file.close()
