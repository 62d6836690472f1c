from chipmend.cli.carry_out import REPORT, carry_out
from chipmend.plan import read_plan


def test_a_plan_ends_with_its_table_its_report_and_its_summary(workshop, capsys):
    plan, tables = read_plan(workshop.plan())
    carry_out(plan, tables, json_file=workshop.folder / "s.json")
    shown = capsys.readouterr().out
    assert "Fixed(1)" in shown
    assert shown.splitlines()[-1] == str(workshop.folder / "run" / REPORT)
    assert workshop.summary()["report"] == str(workshop.folder / "run" / REPORT)


def test_the_lot_is_read_before_the_network_is_built(workshop):
    """What is quickly wrong is told before what takes long."""
    model = {"factory": "shelf:no_such_thing"}
    error = workshop.refused("mend", workshop.plan(chips={"file": "no.npz"}, model=model))
    assert "cannot read the lot" in error
