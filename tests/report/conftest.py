import base64

import numpy as np
import pytest

from chipmend.confidence import Drop
from chipmend.faults import FaultMap, png_picture
from chipmend.fleet.facts import ChipFacts
from chipmend.fleet.ledger import Bin, ChipRecord, PathPoint
from chipmend.fleet.outcome import Outcome
from chipmend.hardware import Array
from chipmend.repairs import Cost
from chipmend.resilience import ResilienceTable, Trajectory
from chipmend.steps import Prune, Retrain

WICKED = "<script>alert(1)</script>&amp;"
CHIPS = ("a", WICKED, "dead")


def record(policy, chip, **changes):
    told = {
        "chip": chip,
        "policy": policy,
        "bin": Bin.RETRAINED,
        "reason": "",
        "fault_rate": 0.2,
        "effective_rate": 0.25,
        "steps": (Prune(), Retrain(epochs=0.5)),
        "shared_by": 1,
        "accuracy": 0.91,
        "met": True,
        "cost": Cost(retrain=0.5, recalibrate=0.0125, measure=0.03, seconds=12.0),
    }
    return ChipRecord(**{**told, **changes})


def records(policy):
    nothing = {"accuracy": None, "met": False, "steps": ()}
    return [
        record(policy, "a"),
        record(policy, WICKED, bin=Bin.SCRAPPED, reason="too <b>bad</b>", **nothing),
        record(policy, "dead", bin=Bin.UNREPAIRABLE, reason="no clock", cost=Cost(), **nothing),
    ]


def facts(chip):
    faulty = np.eye(4, dtype=bool)
    picture = png_picture(FaultMap(rows=4, cols=4, faulty_pes=faulty))
    return ChipFacts(
        chip=chip,
        fault_rate=0.25,
        effective_rate=0.25,
        faulty_pes=4,
        dead_rows=0,
        dead_cols=0,
        fatal="no clock" if chip == "dead" else "",
        version=1,
        picture=base64.b64encode(picture).decode(),
    )


def trajectory(rate, repeat, *accuracies):
    return Trajectory(
        rate=rate,
        repeat=repeat,
        effective_rate=rate,
        accuracies=accuracies,
        ee=1.5,
        seconds=30.0,
    )


@pytest.fixture
def outcome():
    """Two policies over three chips: one shipped, one scrapped, one dead; one rate unreachable."""
    table = ResilienceTable(
        amounts=(0.0, 0.5, 1.0),
        clean_accuracy=0.93,
        trajectories=(
            trajectory(0.1, 0, 0.90, 0.92, 0.93),
            trajectory(0.1, 1, 0.92, 0.92, 0.93),
            trajectory(0.5, 0, 0.50, 0.85, 0.92),
            trajectory(0.5, 1, 0.40, 0.80, 0.90),
        ),
    )
    return Outcome(
        array=Array(rows=4, cols=4),
        constraint=Drop(0.018),
        policies={"Fixed(0.5)": {"epochs": 0.5}, "Reduce-max": {"statistic": "max"}},
        seed=7,
        clean_accuracy=0.925,
        chips=[facts(chip) for chip in CHIPS],
        records=[*records("Fixed(0.5)"), *records("Reduce-max")],
        paths={"a": [PathPoint(epochs=0.25, accuracy=0.91, met=True, ee=0.2625)]},
        tables={"Reduce-max": table},
        shared={"Fixed(0.5)": Cost(), "Reduce-max": Cost()},
        lost=Cost(retrain=0.75, seconds=9.0),
        execution={"torch": "2.13.0", "threads per worker": 1},
        plan={"seed": 7},
    )
