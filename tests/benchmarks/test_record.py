"""A part of a benchmark that is measured anew, beside rows of the others."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def record(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import record

    return record


@pytest.fixture
def result(tmp_path):
    path = tmp_path / "result.json"
    rows = [{"part": "a", "n": 1}, {"part": "b", "n": 2}, {"part": "c", "n": 3, "commit": "old"}]
    path.write_text(json.dumps({"quick": False, "commit": "then", "rows": rows}))
    return path


def asked(record, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, words)])
    return record.arguments("It measures.", parts=["a", "b", "c"])


def test_rows_of_other_parts_are_kept_and_say_when_they_were_measured(record, result, monkeypatch):
    options = asked(record, monkeypatch, "--json", result, "--only", "a")
    assert record.kept(options) == [
        {"part": "b", "n": 2, "commit": "then"},
        {"part": "c", "n": 3, "commit": "old"},
    ]


def test_nothing_is_kept_where_all_is_measured(record, result, monkeypatch):
    assert record.kept(asked(record, monkeypatch, "--json", result)) == []


def test_a_part_is_not_put_beside_those_of_a_quicker_run_or_of_none(
    record, result, monkeypatch, capsys
):
    for words in (["--json", result, "--quick"], ["--json", result.with_name("none.json")]):
        with pytest.raises(SystemExit):
            asked(record, monkeypatch, *words, "--only", "a")
        assert "leave out --only" in capsys.readouterr().err
