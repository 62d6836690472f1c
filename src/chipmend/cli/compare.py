"""``chipmend compare``: several policies over the same chips."""

from pathlib import Path

from chipmend.cli.app import Json, app


@app.command
def compare(plan: Path, /, *, json: Json = None) -> None:
    """Mend the same chips under every policy of a plan; the same command resumes it.

    Args:
        plan: The plan, a TOML file with a list of [[policies]].
        json: Also write a machine-readable summary here.
    """
    from chipmend.cli.carry_out import carry_out
    from chipmend.plan import read_plan

    read, tables = read_plan(plan)
    carry_out(read, tables, json_file=json, inputs=[plan], folder=plan.parent)
