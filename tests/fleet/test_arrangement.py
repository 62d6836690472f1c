import pytest
import torch

from chipmend.errors import WorkerError
from chipmend.fleet import arrangement
from chipmend.fleet.arrangement import Arrangement, candidates, fastest, throughput
from chipmend.fleet.local import InProcess, LocalProcesses
from chipmend.fleet.progress import Unwatched
from chipmend.steps import Retrain

RETRAIN = Retrain(batch=32)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(arrangement, "MEASURED_SECONDS", 0.05)


@pytest.mark.parametrize("processors", [1, 2, 3, 6, 16])
def test_every_candidate_uses_every_processor_once(processors):
    found = candidates(processors)
    assert all(a.workers * a.threads == processors for a in found)
    divisors = [n for n in range(1, processors + 1) if processors % n == 0]
    assert [a.threads for a in found] == divisors


def test_one_worker_works_in_this_process_and_more_in_their_own():
    assert Arrangement(workers=1, threads=3).executor() == InProcess(3)
    assert Arrangement(workers=2, threads=1).executor() == LocalProcesses(2, 1)


@pytest.mark.parametrize(("workers", "threads"), [(0, 1), (1, 0), (-2, 1)])
def test_no_workers_or_threads_are_refused(workers, threads):
    with pytest.raises(WorkerError, match="give 1 or more"):
        Arrangement(workers=workers, threads=threads)


def test_the_candidate_of_the_highest_throughput_is_taken(task, monkeypatch):
    rates = {(4, 1): 300.0, (2, 2): 500.0, (1, 4): 400.0}
    measured = []

    def pretended(_task, _retrain, option):
        measured.append((option.workers, option.threads))
        rate = rates[option.workers, option.threads]
        return Arrangement(workers=option.workers, threads=option.threads, samples_per_second=rate)

    monkeypatch.setattr(arrangement, "cores", lambda: 4)
    monkeypatch.setattr(arrangement, "throughput", pretended)
    best = fastest(task, RETRAIN, Unwatched())
    assert (best.workers, best.threads, best.samples_per_second) == (2, 2, 500.0)
    assert measured == list(rates)


def test_one_processor_needs_no_measurement(task, monkeypatch):
    monkeypatch.setattr(arrangement, "cores", lambda: 1)
    monkeypatch.setattr(arrangement, "throughput", None)
    assert fastest(task, RETRAIN, Unwatched()) == Arrangement(workers=1, threads=1)


def test_the_throughput_of_two_workers_is_the_sum_of_both(task, monkeypatch):
    told = []
    run = LocalProcesses.run

    def heard(self, *args, **ears):
        for place, rate in run(self, *args, **ears):
            told.append(rate)
            yield place, rate

    monkeypatch.setattr(LocalProcesses, "run", heard)
    found = throughput(task, RETRAIN, Arrangement(workers=2, threads=1))
    assert len(told) == 2
    assert min(told) > 0
    assert found.samples_per_second == sum(told)


def test_measuring_leaves_the_network_as_it_was(task):
    before = [p.clone() for p in task.model.parameters()]
    throughput(task, RETRAIN, Arrangement(workers=1, threads=1))
    assert all(torch.equal(a, b) for a, b in zip(before, task.model.parameters(), strict=True))


def test_a_step_that_cannot_be_measured_says_why(task):
    with pytest.raises(WorkerError, match=r"could not be measured.*diverged"):
        throughput(task, Retrain(batch=32, learning_rate=1e30), Arrangement(workers=1, threads=1))
