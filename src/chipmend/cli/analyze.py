"""``chipmend analyze``: the resilience table of a network."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chipmend.cli.app import app, check_outputs, finish, print_whole

if TYPE_CHECKING:
    from rich.table import Table

    from chipmend.plan import Plan
    from chipmend.resilience.table import ResilienceTable


TABLE = "table.json"


@app.command
def analyze(plan: Path, /, *, json: Path | None = None) -> None:
    """Measure accuracy over fault rates and amounts of retraining; the same command resumes it.

    Args:
        plan: The plan, a TOML file.
        json: Also write the amounts needed and the whole table here.
    """
    from chipmend.cli.bars import Bars
    from chipmend.files import write_bytes
    from chipmend.fleet.api import analyze as analyzed
    from chipmend.plan import read_plan
    from chipmend.records import plain

    read, _ = read_plan(plan)
    analysis = read.analysis
    if analysis.trial is not None:
        analysis = replace(analysis, trial=analysis.trial.until_met(read.constraint))
    made = read.execution.run / TABLE
    check_outputs(made, json, inputs=[plan])
    with Bars() as bars:
        table = analyzed(
            read.task(),
            array=read.array,
            analysis=analysis,
            seed=read.seed,
            run=read.execution.run,
            workers=read.execution.workers,
            threads=read.execution.threads,
            progress=bars,
            margin=read.margin,
        )
    write_bytes(made, _as_json(table))
    finish(
        made,
        lambda: _summary(table, read, plain(table)),
        json,
        lambda: print_whole(_shown(table, read)),
    )


def _summary(table: "ResilienceTable", plan: "Plan", whole: Any) -> dict[str, Any]:
    from chipmend.records import plain

    needed = {
        statistic: table.needed_at_points(plan.constraint, statistic)
        for statistic in ("min", "mean", "max")
    }
    return {
        "rates": [point.rate for point in table.points],
        "bit_rates": [point.bit_rate for point in table.points],
        "needed": plain(needed),
        "ee": table.ee,
        "table": whole,
    }


def _as_json(table: "ResilienceTable") -> bytes:
    import json

    from chipmend.records import plain

    return json.dumps(plain(table)).encode()


def _shown(table: "ResilienceTable", plan: "Plan") -> "Table":
    """Epochs needed at each rate, over the repeats."""
    from rich.table import Table

    shown = Table(title=f"epochs of retraining needed for {plan.constraint}")
    points = table.points
    kinds = {
        "fault rate (per PE)": [point.rate for point in points],
        "stuck bits (per bit)": [point.bit_rate for point in points],
    }
    kinds = {kind: rates for kind, rates in kinds.items() if any(rates)}
    for column in (*kinds, "min", "mean", "max"):
        shown.add_column(column, justify="right")
    columns = [table.needed_at_points(plan.constraint, s) for s in ("min", "mean", "max")]
    for place, needed in enumerate(zip(*columns, strict=True)):
        said = ["not reached" if n == float("inf") else f"{n:.3g}" for n in needed]
        shown.add_row(*(f"{100 * rates[place]:g} %" for rates in kinds.values()), *said)
    return shown
