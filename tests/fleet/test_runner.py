import pytest

from chipmend.errors import FingerprintError, StoreError
from chipmend.fleet import runner as module
from chipmend.fleet.executor import Unfinished
from chipmend.fleet.local import InProcess, LocalProcesses
from chipmend.fleet.runner import Runner
from chipmend.fleet.store import SqliteStore
from contracts.executor_contract import double


@pytest.fixture
def store(tmp_path):
    opened = SqliteStore(tmp_path)
    yield opened
    opened.close()


def test_results_come_in_the_order_of_the_jobs(store):
    runner = Runner(LocalProcesses(2), store)
    jobs = {name: place for place, name in enumerate("zyxwv")}
    results = runner.results("k", "doubling", double, jobs)
    assert list(results) == list(jobs)
    assert results == {name: 2 * place for name, place in jobs.items()}


def test_only_what_is_not_in_the_store_is_worked_on(store):
    runner = Runner(InProcess(), store)
    runner.results("k", "doubling", double, {"a": 1, "b": 2})
    worked = []

    def noted(job, tick):
        worked.append(job)
        return double(job, tick)

    results = runner.results("k", "doubling", noted, {"a": 1, "c": 3, "b": 2})
    assert worked == [3]
    assert results == {"a": 2, "c": 6, "b": 4}


def test_jobs_of_another_kind_are_other_jobs(store):
    runner = Runner(InProcess(), store)
    runner.results("k", "doubling", double, {"a": 1})
    assert runner.results("l", "doubling", double, {"a": 4}) == {"a": 8}


def test_a_failed_job_has_its_reason_and_is_tried_again_by_the_next_run(store):
    runner = Runner(InProcess(), store)
    results = runner.results("k", "doubling", double, {"a": -1, "b": 2})
    assert results == {"a": {"failed": "ValueError: negative"}, "b": 4}
    assert store.lost()[0] == 0.0  # it failed before it told of any work
    assert runner.results("k", "doubling", double, {"a": 1, "b": 2}) == {"a": 2, "b": 4}


def test_an_unfinished_job_gives_its_result_and_is_tried_again_by_the_next_run(store):
    def broke_down(job, tick):
        tick(0.5)
        return Unfinished({"all but": job})

    runner = Runner(InProcess(), store)
    assert runner.results("k", "working", broke_down, {"a": 1}) == {"a": {"all but": 1}}
    assert store.lost()[0] == 0.5
    assert runner.results("k", "working", double, {"a": 1}) == {"a": 2}


def test_the_work_of_a_failed_job_is_lost(store):
    def late(job, tick):
        tick(0.75)
        raise ValueError

    Runner(InProcess(), store).results("k", "failing", late, {"a": 1})
    assert store.lost()[0] == 0.75
    assert store.lost()[1] > 0


def test_a_result_is_kept_as_soon_as_its_job_ends(store):
    """The third job finds the first two in the store."""
    found = []

    def looking(job, tick):
        found.append(sorted(store.results("k")))
        return job

    Runner(InProcess(), store).results("k", "looking", looking, {"a": 1, "b": 2, "c": 3})
    assert found == [[], ["a"], ["a", "b"]]


def test_how_far_a_job_is_goes_to_the_store_now_and_then(store, monkeypatch):
    monkeypatch.setattr(module, "PROGRESS_SECONDS", 0.0)
    told = []
    monkeypatch.setattr(store, "progress", lambda *what: told.append(what[:3]))
    Runner(InProcess(), store).results("k", "doubling", double, {"a": 6})
    assert told == [("k", "a", 3.0)]


def test_the_store_is_not_told_of_every_tick(store, monkeypatch):
    told = []
    monkeypatch.setattr(store, "progress", lambda *what: told.append(what))
    Runner(InProcess(), store).results("k", "doubling", double, {"a": 6})
    assert told == []


def test_a_store_that_fails_stops_the_run(store, monkeypatch):
    def full(*_):
        raise StoreError("no room")

    monkeypatch.setattr(store, "finish", full)
    with pytest.raises(StoreError, match="no room"):
        Runner(InProcess(), store).results("k", "doubling", double, {"a": 6})


def test_the_first_fingerprint_is_kept_and_another_is_refused(store):
    runner = Runner(InProcess(), store)
    runner.check_fingerprint({"seed": 0})
    runner.check_fingerprint({"seed": 0})
    with pytest.raises(FingerprintError, match="seed was 0, is 1"):
        runner.check_fingerprint({"seed": 1})
    assert store.fact("fingerprint") == {"seed": 0}
