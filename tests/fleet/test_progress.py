import pytest

from campaigns import ANALYSIS, ARRAY, CONSTRAINT, POLICIES, RETRAIN, chips, mended
from chipmend.fleet import arrangement, mend
from chipmend.fleet.progress import Unwatched
from chipmend.policy import Fixed, FixedSteps


class Listening:
    """Notes what it is told."""

    def __init__(self):
        self.phases, self.ee, self.done, self.begun = [], [], [], []

    def phase(self, name, jobs, done):
        self.phases.append((name, jobs, done))
        self.ee.append(0.0)
        self.done.append(0)
        self.begun.append(0)

    def job_begun(self):
        self.begun[-1] += 1

    def advance(self, ee):
        self.ee[-1] += ee

    def job_done(self):
        self.done[-1] += 1


def watched(task, run, *, workers=1, policies=POLICIES):
    ears = Listening()
    outcome = mend(
        task,
        chips(),
        array=ARRAY,
        constraint=CONSTRAINT,
        policies=policies,
        analysis=ANALYSIS,
        run=run,
        workers=workers,
        threads=None if workers is None else 1,
        progress=ears,
    )
    return ears, outcome


@pytest.mark.parametrize("workers", [1, 2])
def test_a_campaign_tells_its_phases_and_every_job(task, tmp_path, workers):
    ears, _ = watched(task, tmp_path, workers=workers)
    assert ears.phases == [
        ("scoring the clean network", 2, 0),
        ("resilience analysis", 4, 0),
        ("mending chips", 4, 0),
    ]
    assert ears.done == [2, 4, 4]
    assert ears.begun == [0, 4, 4]


def test_measuring_the_machine_is_a_phase_as_well(task, tmp_path, monkeypatch):
    monkeypatch.setattr(arrangement, "MEASURED_SECONDS", 0.05)
    monkeypatch.setattr(arrangement, "cores", lambda: 2)
    ears, _ = watched(task, tmp_path, workers=None, policies=[FixedSteps()])
    assert ears.phases[0] == ("measuring this machine", 2, 0)
    assert ears.done[0] == 2


def test_work_told_of_the_analysis_adds_up_to_what_it_cost(task, tmp_path):
    ears, outcome = watched(task, tmp_path)
    assert ears.ee[1] == pytest.approx(outcome.table.ee)


def test_work_told_of_one_policy_is_at_least_what_its_chips_cost(task, tmp_path):
    """Hindsight is work as well, and on nobody's bill."""
    ears, outcome = watched(task, tmp_path, policies=[Fixed(epochs=1.0, retrain=RETRAIN)])
    billed = sum(record.ee for record in outcome.records)
    assert ears.phases[1:] == [("mending chips", 4, 0), ("verifying bundles", 3, 0)]
    assert ears.ee[1] >= billed - 1e-9


def test_what_an_earlier_run_did_is_told_as_done(task, tmp_path):
    mended(task, run=tmp_path)
    ears, _ = watched(task, tmp_path)
    assert ears.phases[1:] == [("mending chips", 4, 4)]  # the table comes from the cache
    assert (ears.ee[1:], ears.done[1:]) == ([0.0], [0])


def test_nobody_needs_to_listen():
    nobody = Unwatched()
    assert (
        nobody.phase("a", 1, 0)
        is nobody.job_begun()
        is nobody.advance(1.0)
        is nobody.job_done()
        is None
    )
