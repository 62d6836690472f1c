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


def test_a_folder_without_a_finished_run_is_refused(workshop):
    error = workshop.refused("report", workshop.folder)
    assert "there is no finished run" in error
    assert "chipmend mend" in error
