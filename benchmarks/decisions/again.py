"""Re-mending after ageing: from the last bundle, beside mending anew."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

import chipmend as cm
from chipmend.repairs.calibration import Calibration
from decisions.bench import Bench, Row, row_of

NEW = 0.01
"""Share of all PEs that broke since."""
LOTS = {"PEs": (0.05, 0.5, None), "PEs and bits": (0.05, 0.4, cm.StuckAt(rate=0.01))}
MILD = {"PEs": (0.2, 0.3, None)}
"""What a quick run has: chips that need no retraining, which takes minutes."""
CHIPS = 16


def aged(chips: Sequence[cm.Chip]) -> list[cm.Chip]:
    """The chips after a retest."""
    found = []
    for number, chip in enumerate(chips):
        faulty, rng = chip.faults.faulty_pes.copy(), np.random.default_rng([1, number])
        sound = np.flatnonzero(~chip.faults.unusable.ravel())
        faulty.ravel()[rng.choice(sound, round(NEW * faulty.size), replace=False)] = True
        newer = replace(chip.faults, faulty_pes=faulty, version=chip.faults.version + 1)
        found.append(replace(chip, faults=newer))
    return found


def rows(bench: Bench) -> list[Row]:
    """Lots, mended for the first time, again and anew."""
    found = []
    for name, (low, high, stuck) in (MILD if bench.quick else LOTS).items():
        array = bench.array
        if stuck is not None:
            words = Calibration(bench.task).filled(array.memory).words
            array = replace(array, memory=replace(array.memory, words=words))
        count = bench.chips(CHIPS)
        lot = cm.make_chips(
            array, rate=(low, high), count=count, spread="even", stuck=stuck, seed=9
        )
        runs = {
            "first": (lot, None),
            "again": (aged(lot), bench.folder / f"{name}, first"),
            "anew": (aged(lot), None),
        }
        for when, (chips, since) in runs.items():
            outcome = bench.mended(
                f"{name}, {when}", chips, [cm.Cascade()], array=array, since=since
            )
            (s,) = outcome.sums()
            found.append(row_of("mended again", s, lot=name, when=when))
    return found
