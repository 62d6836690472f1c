"""``chipmend mend``: repair a lot, or go on with repairing it."""

from pathlib import Path
from typing import Literal

from chipmend.cli.app import Json, app


@app.command
def mend(
    plan: Path,
    /,
    *,
    verify: Literal["none", "sample", "all"] = "sample",
    sign: Path | None = None,
    since: Path | None = None,
    json: Json = None,
) -> None:
    """Mend every chip of a plan's lot under its policy; the same command resumes it.

    Every chip that ships gets a bundle, in the run folder.

    Args:
        plan: The plan, a TOML file.
        verify: Bundles that are run on a bit-exact model of their chips: a twentieth of them, and
            three at least, or all, or none.
        sign: File of a private key to sign bundles with, as 'chipmend bundle key' makes it.
        since: Run folder of an earlier 'chipmend mend'. Chips that it has shipped go on from what
            they have: they keep it, or have it patched where their fault map is a new one; what
            that does not do for is trained on, or mended anew.
        json: Also write a machine-readable summary here.
    """
    from chipmend.bundle import read_key
    from chipmend.cli.carry_out import Bundles, carry_out
    from chipmend.errors import PlanError
    from chipmend.plan import read_plan

    read, tables = read_plan(plan)
    if len(read.policies) > 1:
        raise PlanError(
            f"{plan} has {len(read.policies)} policies, and a chip can be mended under one",
            hint="leave one, or compare them with 'chipmend compare'",
        )
    inputs = [plan] if sign is None else [plan, sign]
    if sign is not None:
        read_key(sign)
    carry_out(
        read,
        tables,
        json_file=json,
        inputs=inputs,
        folder=plan.parent,
        bundles=Bundles(verify=verify, key=sign),
        since=since,
    )
