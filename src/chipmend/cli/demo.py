"""``chipmend demo``: the whole story on Fashion-MNIST, in minutes on a laptop."""

from pathlib import Path

from chipmend.cli.app import Json, app, say

PLAN = Path(__file__).parent / "demo.toml"


@app.command
def demo(*, run: Path = Path("runs/demo"), data: Path | None = None, json: Json = None) -> None:
    """Mend a small lot of faulty chips under several policies, and write a report.

    Args:
        run: Run folder; the same command resumes an interrupted run.
        data: Folder of Fashion-MNIST's IDX files; without one they are looked for, then fetched.
        json: Also write a machine-readable summary here.
    """
    import tomllib

    from chipmend.cli.carry_out import carry_out
    from chipmend.plan import parse_plan

    tables = tomllib.loads(PLAN.read_text())
    tables["execution"]["run"] = str(run.absolute())
    if data is not None:
        tables["data"]["path"] = str(data.absolute())
    say("VGG11 at quarter width on Fashion-MNIST, 12 chips of 64 x 64 PEs, 2 to 25 % faulty")
    carry_out(parse_plan(tables, str(PLAN)), tables, json_file=json)
