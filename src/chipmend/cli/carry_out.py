"""What mend, compare and demo have in common: run a plan, write the report, say what came of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from chipmend.cli.app import finish, out
from chipmend.cli.bars import Bars

if TYPE_CHECKING:
    from chipmend.plan import Plan

REPORT = "report.html"


def carry_out(plan: "Plan", tables: dict[str, Any], *, json_file: Path | None) -> None:
    """Run a plan's campaign, or go on with it.

    Args:
        plan: The plan.
        tables: The plan as the user wrote it.
        json_file: Where to write the machine-readable summary, if anywhere.
    """
    from chipmend.fleet.api import mend
    from chipmend.report import text_table, write_report

    lot = plan.lot()
    with Bars() as bars:
        outcome = mend(
            plan.task(),
            lot,
            array=plan.array,
            constraint=plan.constraint,
            policies=plan.deciders(),
            analysis=plan.analysis,
            seed=plan.seed,
            run=plan.execution.run,
            workers=plan.execution.workers,
            threads=plan.execution.threads,
            progress=bars,
            plan=tables,
        )
    report = write_report(outcome, plan.execution.run / REPORT)
    out.print(text_table(outcome))
    finish(report, lambda: outcome.summary(str(report)), json_file)
