"""``chipmend verify``: run a bundle on a bit-exact model of its chip."""

from pathlib import Path
from typing import TYPE_CHECKING

from chipmend.cli.app import Json, app, check_outputs, finish, say
from chipmend.cli.bundle import BaseFolder, SignedBy

if TYPE_CHECKING:
    from chipmend.bundle import Verified
    from chipmend.plan import Plan


@app.command
def verify(
    bundle: Path,
    /,
    *,
    plan: Path | None = None,
    base: BaseFolder = None,
    signed_by: SignedBy = None,
    json: Json = None,
) -> None:
    """Run a bundle on a bit-exact model of its chip, all faults live, beside what was recorded.

    Args:
        bundle: The bundle's folder.
        plan: The plan whose lot has the chip, and whose data it is run on; by default the one of
            the run that the bundle lies in.
        base: Folder of the base; by default beside the bundle.
        signed_by: Public key, in hex, that it has to be signed with.
        json: Also write a machine-readable summary here.
    """
    from chipmend.bundle import read_bundle
    from chipmend.bundle import verify as verified
    from chipmend.cli.bundle import base_of, files_of
    from chipmend.errors import BundleError
    from chipmend.fleet.bundling import has_runtime
    from chipmend.records import plain

    check_outputs(json, inputs=files_of(bundle))
    read = read_bundle(bundle, signed_by=signed_by)
    shared, digest = base_of(read, base)
    asked = _plan(plan, read.path)
    chip = next((chip for chip in asked.lot() if chip.id == read.chip.id), None)
    if chip is None:
        raise BundleError(
            f"{bundle} is for chip {read.chip.id}, which is not in the plan's lot",
            hint="give the plan of the lot that it was made for, with --plan",
        )
    task = asked.task()
    found = verified(
        read,
        shared,
        digest,
        chip,
        task.test,
        task.metric,
        network=task.fresh_network(),
        runtime=has_runtime(),
    )
    finish(
        None,
        lambda: {**plain(found), "holds": found.holds},
        json,
        lambda: _tell(found, in_codes=read.in_codes),
    )
    if not found.holds:
        raise BundleError(
            f"{bundle} does not hold: {found.reason}", hint="mend the chip again; do not ship this"
        )


def _plan(path: Path | None, bundle: Path) -> "Plan":
    from chipmend.plan import read_kept_plan, read_plan

    return read_plan(path)[0] if path else read_kept_plan(bundle.resolve().parent.parent)


def _tell(found: "Verified", *, in_codes: bool) -> None:
    model = "bit-exact model" if in_codes else "PEs, in real numbers"
    say(f"chip {found.chip}: {100 * found.accuracy:.2f} % on its {model}")
    say(f"  recorded by the campaign: {100 * found.recorded:.2f} %")
    if found.agreement is not None:
        say(f"  onnxruntime predicts the same on {100 * found.agreement:.2f} % of the images")
    say("  it holds" if found.holds else f"  it does not hold: {found.reason}")
