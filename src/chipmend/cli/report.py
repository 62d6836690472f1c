"""``chipmend report``: the HTML report of a finished run, written anew."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from chipmend.cli.app import Json, app, check_outputs, finish


@app.command
def report(
    run: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    csv: Path | None = None,
    wafers: bool = False,
    json: Json = None,
) -> None:
    """Write one self-contained HTML file about a finished run.

    Args:
        run: The run folder.
        output: Where to write it; by default report.html in the run folder.
        csv: Also write the bin table here: a line for every chip under every policy.
        wafers: Refuse to write a report without a view of the wafers, which it has if chips have
            coordinates.
        json: Also write a machine-readable summary here.
    """
    from chipmend.cli.carry_out import REPORT
    from chipmend.files import write_bytes
    from chipmend.fleet.outcome import FILE, read_outcome
    from chipmend.fleet.store.sqlite import FILE as STORE
    from chipmend.plan.reading import KEPT
    from chipmend.report import bin_table, write_report
    from chipmend.report.wafers import check_placed

    made = output or run / REPORT
    check_outputs(
        made, csv, json, inputs=[run / FILE, run / STORE, run / KEPT, *run.glob("bundles/*/*")]
    )
    outcome = read_outcome(run)
    if wafers:
        check_placed(outcome.chips)
    write_report(outcome, made)
    if csv is not None:
        write_bytes(csv, bin_table(outcome).encode())
    finish(made, lambda: outcome.summary(str(made)), json)
