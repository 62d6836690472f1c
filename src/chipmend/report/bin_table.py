"""The bin table of a lot as CSV: a line for every chip under every policy, for other programs."""

import csv
import io

from chipmend.fleet.facts import ChipFacts
from chipmend.fleet.ledger import ChipRecord
from chipmend.fleet.outcome import Outcome

COLUMNS = (
    *("policy", "chip", "lot", "wafer", "x", "y", "bin", "reason", "met", "accuracy"),
    *("ee", "seconds", "fault_rate", "effective_rate", "effective_bit_rate"),
    *("map_version", "tester_seconds", "bundle"),
)
"""Described in ``docs/reference/bin-table.md``."""


def bin_table(outcome: Outcome) -> str:
    """The bin table as text: one header line, then chips in their order, policy by policy.

    Args:
        outcome: What a campaign came to.
    """
    chips = {chip.chip: chip for chip in outcome.chips}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_line(record, chips[record.chip]) for record in outcome.records)
    return text.getvalue()


def _line(record: ChipRecord, chip: ChipFacts) -> tuple[object, ...]:
    return (
        *(record.policy, chip.chip, chip.lot, chip.wafer, chip.x, chip.y),
        *(record.bin.value, record.reason, int(record.met), record.accuracy),
        *(record.ee, record.cost.seconds / record.shared_by, chip.fault_rate, chip.effective_rate),
        *(chip.effective_bit_rate, chip.version, chip.tester_seconds),
        record.bundle.folder if record.bundle else None,
    )
