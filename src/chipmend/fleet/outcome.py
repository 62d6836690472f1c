"""What a campaign came to: everything that summaries and reports are made of, and nothing live."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chipmend.confidence.constraint import Accuracy, Constraint, Drop
from chipmend.errors import StoreError
from chipmend.faults.screening import Margin
from chipmend.files import write_bytes
from chipmend.fleet.facts import ChipFacts
from chipmend.fleet.ledger import SHIPPED, ChipRecord, PathPoint, PolicySum, sum_up
from chipmend.fleet.promises import Promise
from chipmend.fleet.yields import yield_over_accuracy, yield_over_ee
from chipmend.hardware.array import Array
from chipmend.records import plain, rebuilt
from chipmend.repairs.cost import Cost
from chipmend.resilience.table import ResilienceTable
from chipmend.steps import Measure

FILE = "outcome.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A run that had shipped chips of the lot before.

    Args:
        run: Its folder.
        ee: What each of these chips had cost, in epoch-equivalents.
    """

    run: str
    ee: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a campaign came to.

    Args:
        array: The array and its placement.
        constraint: What each chip had to reach.
        policies: What each policy was, by name, in the order of tables.
        seed: The seed.
        clean_accuracy: Test accuracy of the clean network.
        chips: The lot.
        records: One for every policy and chip, in their order.
        paths: Hindsight along the retraining, by chip.
        tables: The table of each policy that goes by one, by its name; its cost is that policy's.
        shared: What hardening, calibration, and scoring the clean network cost that all chips of a
            policy share, by its name.
        lost: What interrupted attempts had cost.
        execution: Versions, device, threads, workers.
        plan: The plan as the user gave it, if there was one.
        assumed_healthy: Weights that are not placed on the array, by name.
        promises: What policies promise, by their names.
        margin: What decisions allowed for beside fault maps; nothing by default.
        since: The run that chips were mended again from; none by default.
        task: Digest of the network and its data.
        hardening: What it took to harden the network, which all chips share.
        hardened_from: Digest of the clean network's tensors, where repairs started from that
            network hardened; empty where they started from itself.
    """

    array: Array
    constraint: Constraint
    policies: dict[str, Any]
    seed: int
    clean_accuracy: float
    chips: list[ChipFacts]
    records: list[ChipRecord]
    paths: dict[str, list[PathPoint]]
    tables: dict[str, ResilienceTable]
    shared: dict[str, Cost]
    lost: Cost
    execution: dict[str, Any]
    plan: dict[str, Any]
    assumed_healthy: list[str] = field(default_factory=list)
    promises: dict[str, Promise] = field(default_factory=dict)
    margin: Margin | None = None
    since: Earlier | None = None
    task: str = ""
    hardening: Cost = field(default_factory=Cost)
    hardened_from: str = ""

    def records_of(self, policy: str) -> list[ChipRecord]:
        """The records of one policy, in the order of the chips."""
        return [record for record in self.records if record.policy == policy]

    def sums(self) -> list[PolicySum]:
        """What each policy came to."""
        return [
            sum_up(self.records_of(name), self.paths, self._analysis_cost(name), self.shared[name])
            for name in self.policies
        ]

    def kept_here(self, policy: str) -> tuple[int, int]:
        """How many chips of the lot a policy's promise concerns, and of these meet the constraint.

        They are those that shipped without a look; whether they meet it, the test split says.
        """
        concerned = [
            record
            for record in self.records_of(policy)
            if record.bin in SHIPPED and not any(isinstance(s, Measure) for s in record.steps)
        ]
        return len(concerned), sum(record.met for record in concerned)

    @property
    def table(self) -> ResilienceTable | None:
        """The first table that is there to show: how accuracy answers to faults."""
        return next(iter(self.tables.values()), None)

    @property
    def tester_seconds(self) -> float | None:
        """Time on the tester of all chips whose maps say so; none if none does."""
        known = [chip.tester_seconds for chip in self.chips if chip.tester_seconds is not None]
        return sum(known) if known else None

    def _analysis_cost(self, policy: str) -> Cost:
        if (table := self.tables.get(policy)) is None:
            return Cost()
        return Cost(retrain=table.ee, seconds=table.seconds)

    def summary(self, report: str | None = None) -> dict[str, Any]:
        """What machines read: accuracies are fractions, costs epoch-equivalents.

        Args:
            report: Path of the report, if one was written.

        Returns:
            An object that JSON can hold.
        """
        kind = "drop" if isinstance(self.constraint, Drop) else "accuracy"
        bar = (
            self.constraint.accuracy
            if isinstance(self.constraint, Accuracy)
            else self.constraint.drop
        )
        return plain(
            {
                "clean_accuracy": self.clean_accuracy,
                "constraint": {kind: bar},
                "report": report,
                "ee_lost": self.lost.ee,
                "ee_hardening": self.hardening.ee,
                "policies": {
                    s.policy: _machine_sum(s, self.records_of(s.policy)) for s in self.sums()
                },
                "tester_seconds": self.tester_seconds,
                "promises": {name: self._machine_promise(name) for name in self.promises},
                "since": self.since,
            }
        )

    def _machine_promise(self, policy: str) -> dict[str, Any]:
        concerned, met = self.kept_here(policy)
        return {**plain(self.promises[policy]), "shipped_here": concerned, "met_here": met}

    def write(self, folder: str | Path) -> Path:
        """Keep the outcome in a run folder."""
        return write_bytes(Path(folder) / FILE, json.dumps(plain(self)).encode())


def read_outcome(folder: str | Path) -> Outcome:
    """Read what ``Outcome.write`` kept.

    Raises:
        StoreError: No finished run is in the folder, or it was altered.
    """
    path = Path(folder) / FILE
    try:
        return rebuilt(Outcome, json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(
            f"there is no finished run in {folder}",
            hint="give the run folder of 'chipmend mend' or 'chipmend compare'; if the run was "
            "interrupted, start it again with the same command",
        ) from error
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} is not the outcome of a run: {str(error).splitlines()[0]}",
            hint="run the campaign again: its finished jobs are kept",
        ) from error


def _machine_sum(policy: PolicySum, records: Sequence[ChipRecord]) -> dict[str, Any]:
    return {
        "chips": policy.chips,
        "met": policy.met,
        "shipped": policy.shipped,
        "scrapped": policy.scrapped,
        "bins": policy.bins,
        "accuracy_mean": policy.accuracy_mean,
        "accuracy_min": policy.accuracy_min,
        "ee_per_chip": policy.ee_per_chip,
        "ee_analysis": policy.ee_analysis,
        "ee_shared": policy.ee_shared,
        "ee_overspent": policy.ee_overspent,
        "ee_overspent_per_chip_met": policy.ee_overspent_per_chip,
        "seconds": policy.seconds,
        "seconds_analysis": policy.seconds_analysis,
        "seconds_shared": policy.seconds_shared,
        "yield_over_accuracy": yield_over_accuracy(records),
        "yield_over_ee": yield_over_ee(records),
    }
