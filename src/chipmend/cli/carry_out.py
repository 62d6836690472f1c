"""What mend, compare and demo have in common: run a plan, write the report, say what came of it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chipmend.cli.app import check_outputs, finish, print_whole, say
from chipmend.cli.bars import Bars

if TYPE_CHECKING:
    from chipmend.fleet import Outcome
    from chipmend.plan import Plan

REPORT = "report.html"
MOST_REASONS = 5
"""Reasons of failure that are shown; the report has them all."""


def carry_out(
    plan: "Plan", tables: dict[str, Any], *, json_file: Path | None, inputs: Sequence[Path] = ()
) -> None:
    """Run a plan's campaign, or go on with it.

    Args:
        plan: The plan.
        tables: The plan as the user wrote it.
        json_file: Where to write the machine-readable summary, if anywhere.
        inputs: What the verb reads, and must not write over.
    """
    from chipmend.fleet.api import mend
    from chipmend.fleet.outcome import FILE as OUTCOME
    from chipmend.fleet.store.sqlite import FILE as STORE
    from chipmend.report import write_report

    kept = [plan.execution.run / name for name in (REPORT, OUTCOME, STORE)]
    check_outputs(json_file, inputs=[*inputs, *plan.files(), *kept])
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
        )
    report = write_report(outcome, plan.execution.run / REPORT)
    finish(
        report,
        lambda: outcome.summary(str(report)),
        json_file,
        lambda: _show(outcome),
    )


def _show(outcome: "Outcome") -> None:
    """Show the table, and why chips failed if any did."""
    from chipmend.fleet import Bin
    from chipmend.report import text_table

    print_whole(text_table(outcome))
    failures = Counter(r.reason for r in outcome.records if r.bin == Bin.FAILED)
    for reason, count in failures.most_common(MOST_REASONS):
        say(f"failed: {reason} ({count} of {len(outcome.records)} records)")
