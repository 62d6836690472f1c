"""``chipmend demo``: the whole story on Fashion-MNIST, in minutes on a laptop."""

import tomllib
from pathlib import Path
from typing import Any

from chipmend.cli.app import Json, app, check_outputs, finish, say

PLAN, SHIPPING = (Path(__file__).with_name(name) for name in ("demo.toml", "demo_shipping.toml"))
SHIPS = "shipping"
"""Folder in the run folder for the chips whose bundles are verified."""


@app.command
def demo(*, run: Path = Path("runs/demo"), data: Path | None = None, json: Json = None) -> None:
    """Mend a small lot of faulty chips under several policies, then ship to some, and verify that.

    Args:
        run: Run folder; the same command resumes an interrupted run.
        data: Folder of Fashion-MNIST's IDX files; without one they are looked for, then fetched.
        json: Also write a machine-readable summary here.
    """
    from chipmend.cli.carry_out import Bundles, carried_out, check_any_done, show, written_by
    from chipmend.plan import parse_plan

    tables = _tables(PLAN, run, data), _tables(SHIPPING, run / SHIPS, data)
    compare, ship = (parse_plan(each, str(PLAN)) for each in tables)
    check_outputs(json, inputs=[*written_by(compare), *written_by(ship)])
    say("VGG11 at quarter width on Fashion-MNIST, 12 chips of 64 x 64 PEs, 2 to 25 % faulty")
    compared, report = carried_out(compare, tables[0])
    show(compared)
    say("\nthe same in int8: 4 chips, 1 to 10 % faulty PEs, 4 % of the weight memory's bits stuck")
    shipped, _ = carried_out(ship, tables[1], bundles=Bundles(verify="all"))
    show(shipped)
    say(f"bundles: {ship.execution.run / 'bundles'}")
    finish(report, lambda: {**compared.summary(str(report)), "shipped": shipped.summary()}, json)
    check_any_done(shipped)


def _tables(plan: Path, run: Path, data: Path | None) -> dict[str, Any]:
    tables = tomllib.loads(plan.read_text())
    tables["execution"] = {"run": str(run.absolute())}
    if data is not None:
        tables["data"]["path"] = str(data.absolute())
    return tables
