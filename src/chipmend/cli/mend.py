"""``chipmend mend``: repair a lot, or go on with repairing it."""

from pathlib import Path

from chipmend.cli.app import Json, app


@app.command
def mend(plan: Path, /, *, json: Json = None) -> None:
    """Mend every chip of a plan's lot under its policy; the same command resumes it.

    Args:
        plan: The plan, a TOML file.
        json: Also write a machine-readable summary here.
    """
    from chipmend.cli.carry_out import carry_out
    from chipmend.errors import PlanError
    from chipmend.plan import read_plan

    read, tables = read_plan(plan)
    if len(read.policies) > 1:
        raise PlanError(
            f"{plan} has {len(read.policies)} policies, and a chip can be mended under one",
            hint="leave one, or compare them with 'chipmend compare'",
        )
    carry_out(read, tables, json_file=json, inputs=[plan])
