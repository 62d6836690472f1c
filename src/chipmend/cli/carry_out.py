"""What mend, compare and demo have in common: run a plan, write the report, say what came of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from chipmend.cli.app import check_outputs, finish, print_whole, say
from chipmend.cli.bars import Bars

if TYPE_CHECKING:
    from chipmend.fleet import Outcome
    from chipmend.plan import Plan

REPORT = "report.html"
MOST_REASONS = 5
"""Reasons of failure that are shown; the report has them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundles:
    """What is done about bundles.

    Args:
        verify: Which are verified.
        key: File of the private key that signs them.
    """

    verify: Literal["none", "sample", "all"] = "sample"
    key: Path | None = None


def carry_out(
    plan: "Plan",
    tables: dict[str, Any],
    *,
    json_file: Path | None,
    inputs: Sequence[Path] = (),
    folder: Path = Path(),
    bundles: Bundles = Bundles(),
    since: Path | None = None,
) -> None:
    """Run a plan's campaign, or go on with it, and say what came of it.

    Args:
        plan: The plan.
        tables: The plan as the user wrote it.
        json_file: Where to write the machine-readable summary, if anywhere.
        inputs: What the verb reads, and must not write over.
        folder: What relative paths in the plan are relative to.
        bundles: What is done about bundles.
        since: Folder of an earlier run that chips go on from, if they do.
    """
    earlier = [] if since is None else written_in(since)
    check_outputs(json_file, inputs=[*inputs, *written_by(plan), *earlier])
    outcome, report = carried_out(plan, tables, folder=folder, bundles=bundles, since=since)
    finish(report, lambda: outcome.summary(str(report)), json_file, lambda: show(outcome))
    check_any_done(outcome)


def written_by(plan: "Plan") -> list[Path]:
    """Files that a plan reads, and those that its run is kept in."""
    return [*plan.files(), *written_in(plan.execution.run)]


def written_in(run: Path) -> list[Path]:
    """Files that a run is kept in."""
    from chipmend.fleet.outcome import FILE as OUTCOME
    from chipmend.fleet.store.sqlite import FILE as STORE
    from chipmend.plan.reading import KEPT

    bundles = [path for path in run.glob("bundles/*/*") if path.is_file()]
    return [*(run / name for name in (REPORT, OUTCOME, STORE, KEPT)), *bundles]


def carried_out(
    plan: "Plan",
    tables: dict[str, Any],
    *,
    folder: Path = Path(),
    bundles: Bundles = Bundles(),
    since: Path | None = None,
) -> "tuple[Outcome, Path]":
    """Run a plan's campaign, or go on with it; what came of it, and the report.

    Args:
        plan: The plan.
        tables: The plan as the user wrote it.
        folder: What relative paths in the plan are relative to.
        bundles: What is done about bundles.
        since: Folder of an earlier run that chips go on from, if they do.
    """
    from chipmend.fleet.api import mend
    from chipmend.plan import keep_plan
    from chipmend.report import write_report

    policies, lot = plan.deciders(), plan.lot()
    with Bars() as bars:
        outcome = mend(
            plan.task(),
            lot,
            array=plan.array,
            constraint=plan.constraint,
            policies=policies,
            analysis=plan.analysis,
            seed=plan.seed,
            run=plan.execution.run,
            workers=plan.execution.workers,
            threads=plan.execution.threads,
            progress=bars,
            plan=tables,
            verify=bundles.verify,
            key=bundles.key,
            margin=plan.margin,
            truth=plan.truth(),
            since=since,
        )
    keep_plan(plan.execution.run, tables, folder)
    return outcome, write_report(outcome, plan.execution.run / REPORT)


def show(outcome: "Outcome") -> None:
    """Show the table, and why chips failed if any did."""
    from chipmend.fleet import Bin
    from chipmend.report import mended_again, text_table

    print_whole(text_table(outcome))
    if outcome.since is not None:
        say(mended_again(outcome))
    _show_promises(outcome)
    _show_bundles(outcome)
    failures = Counter(r.reason for r in outcome.records if r.bin == Bin.FAILED)
    for reason, count in failures.most_common(MOST_REASONS):
        say(f"failed: {reason} ({count} of {len(outcome.records)} records)")


def check_any_done(outcome: "Outcome") -> None:
    """Refuse to end well where nothing could be done for any chip.

    Raises:
        WorkerError: All chips failed.
    """
    from chipmend.errors import WorkerError
    from chipmend.fleet import Bin

    if all(record.bin == Bin.FAILED for record in outcome.records):
        raise WorkerError(
            "nothing could be done for any chip, for the reasons above",
            hint="mend what they name, then begin again in a new run folder",
        )


def _show_promises(outcome: "Outcome") -> None:
    """Say what is promised, and of whom."""
    for name, promise in outcome.promises.items():
        if not promise.shipped:
            say(
                f"{name}: no setting keeps what is promised on a trial lot of {promise.trial}, so "
                f"there are no {promise.concerned}"
            )
            continue
        kept = promise.shipped - promise.missed
        say(
            f"{name}: promised of {promise.concerned}, as {kept} of {promise.shipped} such chips "
            f"of a trial lot of {promise.trial} keep it"
            + (", which this lot is not like" if promise.shifts else "")
            + (", which it has too few chips to be compared with" if promise.too_few else "")
        )
        concerned, met = outcome.kept_here(name)
        say(f"  of this lot's {concerned} such chips {met} meet it on the test split")


def _show_bundles(outcome: "Outcome") -> None:
    """Say how many bundles there are, how large, and what became of those that were verified."""
    bundles = [record.bundle for record in outcome.records if record.bundle is not None]
    if not bundles:
        return
    share = sum(b.bytes for b in bundles) / sum(b.full for b in bundles)
    say(f"{len(bundles)} bundles, {100 * share:.1f} % of copies of the network")
    verified = [bundle.verified for bundle in bundles if bundle.verified is not None]
    if verified:
        held = sum(found.holds for found in verified)
        say(f"{held} of {len(verified)} that were verified do on their chips what was recorded")
