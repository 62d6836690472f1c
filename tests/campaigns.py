"""Tiny campaigns that several tests, and processes that tests kill, run in the same way."""

import json
import os
import time

from chipmend.confidence import Drop
from chipmend.faults import make_chips
from chipmend.fleet import mend
from chipmend.hardware import Array
from chipmend.policy import Fixed, FixedSteps, Reduce, UntilMet
from chipmend.records import plain
from chipmend.resilience import Analysis
from chipmend.steps import Compensate, OneShot, Prune, Reestimate, Retrain
from conftest import tiny_task

ARRAY = Array(rows=8, cols=8)
CONSTRAINT = Drop(0.1)
RETRAIN = Retrain(learning_rate=0.05, batch=32, recalibrate=Reestimate(samples=64))
ANALYSIS = Analysis(rates=(0.1, 0.4), amounts=(0.0, 0.5, 1.0, 2.0), repeats=2, retrain=RETRAIN)
REPAIR = (Prune(), Compensate(form=OneShot(samples=64, places=500)))
POLICIES = (
    FixedSteps(),
    FixedSteps(steps=REPAIR, label="Repair"),
    Fixed(epochs=1.0, retrain=RETRAIN),
    Fixed(epochs=1.0, decaying=True, retrain=RETRAIN),
    UntilMet(increment=0.5, most=2.0, retrain=RETRAIN),
    Reduce(retrain=RETRAIN),
    Reduce(statistic="mean", retrain=RETRAIN),
)


def chips():
    """Four chips from 5 to 50 % faulty."""
    made = make_chips(ARRAY, rate=(0.05, 0.5), count=4, spread="even")
    return [type(chip)(id=f"c{place}", faults=chip.faults) for place, chip in enumerate(made)]


def mended(
    task, *, run, lot=None, policies=POLICIES, workers=1, threads=1, seed=0, constraint=CONSTRAINT
):
    return mend(
        task,
        chips() if lot is None else lot,
        array=ARRAY,
        constraint=constraint,
        policies=policies,
        analysis=ANALYSIS,
        run=run,
        workers=workers,
        threads=threads,
        seed=seed,
    )


def records(outcome):
    """What has to be the same in every run under one fingerprint: all but times."""
    return {
        "records": _timeless(plain(outcome.records)),
        "paths": dict(sorted(plain(outcome.paths).items())),
        "tables": _timeless(plain(outcome.tables)),
        "shared": _timeless(plain(outcome.shared)),
    }


def _timeless(value):
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key != "seconds"}
    if isinstance(value, list):
        return [_timeless(item) for item in value]
    return value


class Slowed:
    """The real work, but slow enough to be killed in."""

    def __init__(self, work, seconds):
        self.work, self.seconds = work, seconds

    def __call__(self, job, tick):
        time.sleep(self.seconds / 2)
        result = self.work(job, tick)
        time.sleep(self.seconds / 2)
        return result


def run_to_the_end(folder):
    """Mend in ``FOLDER/run`` with two slow workers, and write the records beside it."""
    from chipmend.fleet.local import LocalProcesses

    os.environ["CHIPMEND_CACHE"] = str(folder / "cache")
    run = LocalProcesses.run
    LocalProcesses.run = lambda self, work, jobs, **ears: run(self, Slowed(work, 1.0), jobs, **ears)
    outcome = mended(tiny_task(), run=folder / "run", workers=2)
    (folder / "records.json").write_text(json.dumps(records(outcome)))


def run_for_ever(folder):
    """Tell of an epoch-equivalent of work, and never end the job."""
    from chipmend.fleet import mending, runner

    os.environ["CHIPMEND_CACHE"] = str(folder / "cache")
    runner.PROGRESS_SECONDS = 0.0

    def never_end(self, job, tick):
        tick(1.0)
        (folder / "told").touch()
        time.sleep(600)

    mending.Mending.__call__ = never_end
    mended(tiny_task(), run=folder / "run", policies=[Fixed(epochs=0.5)])
