import pytest
import torch

from campaigns import ANALYSIS, ARRAY, CONSTRAINT, RETRAIN, chips
from chipmend.errors import (
    ChipmendError,
    FaultMapError,
    FingerprintError,
    LotError,
    StoreError,
    WorkerError,
)
from chipmend.fleet import analyze, arrangement, mend, read_outcome
from chipmend.fleet.analyzing import Analyzing
from chipmend.fleet.arrangement import Arrangement
from chipmend.fleet.store import SqliteStore
from chipmend.hardware import Array
from chipmend.policy import Fixed, Reduce


def mended(task, **changes):
    settings = {
        "array": ARRAY,
        "constraint": CONSTRAINT,
        "policies": [Fixed(epochs=0.5, retrain=RETRAIN)],
        "analysis": ANALYSIS,
        "threads": 1,
    }
    return mend(task, chips()[:1], **{**settings, **changes})


def analyzed(task, **changes):
    return analyze(task, array=ARRAY, analysis=ANALYSIS, **{"threads": 1, **changes})


def test_the_outcome_can_be_read_again_from_the_run_folder(task, tmp_path):
    outcome = mended(task, run=tmp_path)
    assert read_outcome(tmp_path) == outcome


def test_without_a_run_folder_nothing_is_kept(task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mended(task)
    assert list(tmp_path.iterdir()) == []


def test_the_measured_arrangement_is_kept_with_the_run(task, tmp_path, monkeypatch):
    found = Arrangement(workers=1, threads=1, samples_per_second=5.0)
    monkeypatch.setattr("chipmend.fleet.api.fastest", lambda *_: found)
    mended(task, run=tmp_path, workers=None, threads=None)
    monkeypatch.setattr("chipmend.fleet.api.fastest", None)
    again = mended(task, run=tmp_path, workers=None, threads=None)
    assert "InProcess(threads=1)" in again.execution["executor"]


def test_threads_alone_say_how_many_workers_the_processors_have_room_for(task, monkeypatch):
    monkeypatch.setattr("chipmend.fleet.api.fastest", None)
    monkeypatch.setattr("chipmend.fleet.api.cores", lambda: 5)
    outcome = mended(task, workers=None, threads=2)
    assert "LocalProcesses(workers=2, threads=2)" in outcome.execution["executor"]


def test_a_lot_that_does_not_fit_is_refused_before_anything_is_measured(task, monkeypatch):
    monkeypatch.setattr("chipmend.fleet.api.fastest", None)
    with pytest.raises(FaultMapError):
        mended(task, array=Array(rows=4, cols=8), workers=None, threads=None)


def test_analysis_and_campaign_share_a_run_folder_and_what_was_measured_in_it(
    task, tmp_path, monkeypatch
):
    table = analyzed(task, run=tmp_path)
    monkeypatch.setenv("CHIPMEND_CACHE", str(tmp_path / "another cache"))
    monkeypatch.setattr("chipmend.fleet.analyzing.Analyzing.__call__", None)
    assert mended(task, run=tmp_path, policies=[Reduce(retrain=RETRAIN)]).table == table


def test_processors_are_shared_out_evenly_among_workers(task, monkeypatch):
    monkeypatch.setattr("chipmend.fleet.api.cores", lambda: 5)
    outcome = mended(task, workers=2, threads=None)
    assert outcome.execution["threads per worker"] == 2


def test_more_workers_than_processors_have_a_thread_each(task, monkeypatch):
    monkeypatch.setattr("chipmend.fleet.api.cores", lambda: 1)
    assert mended(task, workers=2, threads=None).execution["threads per worker"] == 1


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"threads": 0}])
def test_no_workers_are_refused_and_the_folder_is_free_again(task, tmp_path, wrong):
    with pytest.raises(WorkerError):
        mended(task, run=tmp_path, **wrong)
    SqliteStore(tmp_path).close()


def test_a_run_folder_that_is_a_file_is_our_error(task, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot write"):
        mended(task, run=tmp_path / "file")


def test_an_analysis_is_found_by_the_campaigns_after_it(task, monkeypatch):
    table = analyzed(task)
    monkeypatch.setattr("chipmend.fleet.analyzing.Analyzing.__call__", None)
    assert mended(task, policies=[Reduce(retrain=RETRAIN)]).table == table


def test_an_analysis_goes_on_where_it_was_cut(task, tmp_path, monkeypatch):
    """A worker that is told to stop after two repeats leaves two for the next call."""
    measure, measured = Analyzing.__call__, []

    def cut(self, job, tick):
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(job)
        return measure(self, job, tick)

    with monkeypatch.context() as patched:
        patched.setattr(Analyzing, "__call__", cut)
        with pytest.raises(KeyboardInterrupt):
            analyzed(task, run=tmp_path)
    table = analyzed(task, run=tmp_path)
    whole = analyzed(task, run=tmp_path / "whole")
    assert [t.accuracies for t in table.trajectories] == [t.accuracies for t in whole.trajectories]
    assert len(measured) == 2


def test_an_analysis_does_not_go_on_under_another_seed(task, tmp_path):
    analyzed(task, run=tmp_path)
    with pytest.raises(FingerprintError, match="analysis changed"):
        analyzed(task, run=tmp_path, seed=1)


def test_the_clean_accuracy_of_a_table_is_that_of_the_clean_network(task):
    pictures, targets = task.validation.batch(torch.arange(len(task.validation)))
    right = (task.model(pictures).argmax(1) == targets).sum()
    assert analyzed(task).clean_accuracy == int(right) / len(targets)


def test_arrangements_are_measured_only_when_asked_for(task, monkeypatch):
    monkeypatch.setattr(arrangement, "throughput", None)
    assert mended(task, workers=1).records


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"constraint": 0.05}, "0.05 is no constraint"),
        ({"policies": Reduce()}, "is no list of policies"),
        ({"policies": []}, "no policy"),
        ({"policies": ["reduce"]}, "'reduce' is no policy: it lacks name"),
        ({"array": (6, 5)}, r"\(6, 5\) is no array"),
    ],
)
def test_what_is_of_another_kind_is_told_at_once(task, monkeypatch, wrong, said):
    monkeypatch.setattr("chipmend.fleet.api.fastest", None)
    with pytest.raises(ChipmendError, match=said):
        mended(task, workers=None, threads=None, **wrong)


@pytest.mark.parametrize(
    ("lot", "said"), [("lot.npz", "'lot.npz' is no lot"), (["lot.npz"], "'lot.npz' is no chip")]
)
def test_what_are_no_chips_is_told_at_once(task, lot, said):
    with pytest.raises(LotError, match=said):
        mend(task, lot, array=ARRAY, constraint=CONSTRAINT)
