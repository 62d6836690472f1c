from chipmend.fleet import read_outcome


def test_the_report_of_a_finished_run_is_written_anew(workshop):
    workshop.done("mend", workshop.plan(), "--json", "mend.json")
    report = workshop.folder / "run" / "report.html"
    first = report.read_bytes()
    report.unlink()
    shown = workshop.done("report", workshop.folder / "run", "--json", "report.json")
    assert report.read_bytes() == first
    assert shown.splitlines()[-1] == str(report)
    assert workshop.summary("mend.json") == workshop.summary("report.json")


def test_it_is_written_where_it_is_wanted_without_the_network(workshop):
    workshop.done("mend", workshop.plan())
    (workshop.folder / "shelf.py").unlink()
    workshop.done("report", workshop.folder / "run", "--output", workshop.folder / "new" / "r.html")
    assert "<html" in (workshop.folder / "new" / "r.html").read_text()


def test_the_bin_table_is_written_if_asked_for(workshop):
    workshop.done("mend", workshop.plan())
    run = workshop.folder / "run"
    workshop.done("report", run, "--csv", "bins.csv", "-o", "r.html")
    outcome = read_outcome(run)
    lines = (workshop.folder / "bins.csv").read_text().splitlines()
    assert len(lines) == 1 + len(outcome.records)
    assert lines[1].split(",")[:2] == [outcome.records[0].policy, outcome.records[0].chip]
    same = workshop.refused("report", run, "--csv", "r.html", "-o", "r.html")
    assert "would be written over" in same


def test_a_folder_without_a_finished_run_is_refused(workshop):
    error = workshop.refused("report", workshop.folder)
    assert "there is no finished run" in error
    assert "chipmend mend" in error


def test_a_view_of_wafers_is_refused_where_nobody_knows_where_dies_lay(workshop):
    workshop.done("mend", workshop.plan())
    error = workshop.refused("report", workshop.folder / "run", "--wafers", "-o", "r.html")
    assert "no chip of the run has coordinates" in error
    assert "give x and y of the dies" in error
    assert not (workshop.folder / "r.html").exists()
