import json
from dataclasses import replace

import pytest

from campaigns import ANALYSIS, ARRAY, REPAIR
from chipmend.errors import FingerprintError, RepairError
from chipmend.fleet import analyzing
from chipmend.fleet.analyzing import Analyzing, resilience_table
from chipmend.fleet.local import InProcess, LocalProcesses
from chipmend.fleet.runner import Runner
from chipmend.fleet.store import SqliteStore
from chipmend.network.evaluate import scores
from chipmend.repairs.calibration import Calibration
from chipmend.resilience import ResilienceTable, trajectory

HERE = {"torch": "here"}


def work_on(task, seed=0):
    clean = scores(task.model, task.validation, task.metric)
    return Analyzing(task, ARRAY, ANALYSIS, seed, clean, Calibration(task, seed))


@pytest.fixture
def table_of(task, tmp_path):
    """Each call is a run of its own; they share the cache."""
    runs = iter(range(10))

    def measured(*, executor=None, seed=0, conditions=HERE, cache=tmp_path / "cache"):
        store = SqliteStore(tmp_path / f"run{next(runs)}")
        try:
            return resilience_table(
                work_on(task, seed),
                runner=Runner(executor or InProcess(), store),
                conditions=conditions,
                cache=cache,
            )
        finally:
            store.close()

    return measured


def timeless(table: ResilienceTable):
    return [(t.rate, t.repeat, t.effective_rate, t.accuracies, t.ee) for t in table.trajectories]


def test_the_table_holds_each_repeat_as_measured_alone(task, table_of):
    clean = work_on(task).clean
    alone = [trajectory(task, ARRAY, ANALYSIS, job, clean=clean, seed=0) for job in ANALYSIS.jobs()]
    table = table_of(cache=None)
    assert timeless(table) == [
        (t.rate, t.repeat, t.effective_rate, t.accuracies, t.ee) for t in alone
    ]
    assert (table.amounts, table.clean_accuracy) == (ANALYSIS.amounts, clean.mean())


def test_two_workers_measure_the_same_table(table_of):
    one, two = table_of(cache=None), table_of(cache=None, executor=LocalProcesses(2))
    assert timeless(one) == timeless(two)


def test_a_cached_table_is_the_one_that_was_measured(table_of, monkeypatch):
    first = table_of()
    monkeypatch.setattr(Analyzing, "__call__", None)
    assert table_of() == first


@pytest.mark.parametrize("change", [{"seed": 1}, {"conditions": {"torch": "other"}}])
def test_what_it_depends_on_is_part_of_its_cached_name(table_of, tmp_path, change):
    table_of()
    table_of(**change)
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"amounts": [0.0]}', b"\xff\xfe"])
def test_a_damaged_cached_table_is_measured_again_and_mended(table_of, tmp_path, damage, caplog):
    first = table_of()
    kept = next((tmp_path / "cache").iterdir())
    whole = json.loads(kept.read_bytes())
    kept.write_bytes(damage)
    assert timeless(table_of()) == timeless(first)
    assert str(kept) in caplog.text
    assert json.loads(kept.read_bytes()).keys() == whole.keys()


def test_a_repeat_that_fails_is_named_with_its_reason(table_of, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(analyzing, "trajectory", broken)
    with pytest.raises(RepairError, match=r"rate/repeat 0\.1/0: ZeroDivisionError: oh"):
        table_of()


def test_one_failed_repeat_is_tried_again_and_the_others_are_kept(task, tmp_path, monkeypatch):
    def measured():
        store = SqliteStore(tmp_path)
        try:
            return resilience_table(
                work_on(task),
                runner=Runner(InProcess(), store),
                conditions=HERE,
                cache=None,
            )
        finally:
            store.close()

    worked = []

    def once(task, array, analysis, job, **settings):
        worked.append(job)
        if len(worked) == 2:
            raise MemoryError
        return trajectory(task, array, analysis, job, **settings)

    monkeypatch.setattr(analyzing, "trajectory", once)
    with pytest.raises(RepairError, match="MemoryError"):
        measured()
    assert len(measured().trajectories) == 4
    assert worked == [*ANALYSIS.jobs(), ANALYSIS.jobs()[1]]


def test_a_run_does_not_take_up_the_repeats_of_another_analysis(task, tmp_path):
    store = SqliteStore(tmp_path)
    runner = Runner(InProcess(), store)

    def measured(seed):
        return resilience_table(work_on(task, seed), runner=runner, conditions=HERE, cache=None)

    measured(0)
    with pytest.raises(FingerprintError, match="analysis changed"):
        measured(1)
    store.close()


def test_a_run_holds_the_repeats_of_several_analyses(task, tmp_path, monkeypatch):
    """Each is taken up again as it was, and none for another."""
    store = SqliteStore(tmp_path)
    analyses = [ANALYSIS, replace(ANALYSIS, start=REPAIR), replace(ANALYSIS, share=0.5)]

    def measured(analysis):
        work = replace(work_on(task), analysis=analysis)
        runner = Runner(InProcess(), store)
        return resilience_table(work, runner=runner, conditions=HERE, cache=None)

    first = [measured(analysis) for analysis in analyses]
    assert len({table.trajectories for table in first}) == 3
    monkeypatch.setattr(Analyzing, "__call__", None)
    assert [measured(analysis) for analysis in analyses[::-1]] == first[::-1]
    store.close()


def test_a_failed_analysis_is_not_cached(table_of, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("oh")

    with monkeypatch.context() as patched:
        patched.setattr(analyzing, "trajectory", broken)
        with pytest.raises(RepairError):
            table_of()
    assert not (tmp_path / "cache").exists()
    assert table_of().trajectories
