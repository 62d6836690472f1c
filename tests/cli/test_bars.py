from rich.console import Console

from chipmend.cli import bars as module


def test_in_a_log_there_is_a_line_per_job_with_the_time_left(monkeypatch, capsys):
    monkeypatch.setattr(module, "err", Console(stderr=True, force_terminal=False, width=120))
    with module.Bars() as bars:
        bars.phase("mending chips", 3, 1)
        bars.advance(0.5)
        bars.advance(0.25)
        bars.job_done()
        bars.job_done()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("mending chips: 2 of 3, 0.75 EE, ")
    assert lines[1] == "mending chips: 3 of 3, 0.75 EE, 0:00:00 left"


def test_on_a_terminal_there_is_a_bar_per_phase(monkeypatch, capsys):
    monkeypatch.setattr(module, "err", Console(stderr=True, force_terminal=True, width=120))
    with module.Bars() as bars:
        bars.phase("resilience analysis", 2, 0)
        bars.job_done()
        bars.phase("mending chips", 2, 0)
        bars.job_done()
        bars.job_done()
    shown = capsys.readouterr().err
    assert "resilience analysis" in shown
    assert "2/2" in shown


def test_nothing_is_counted_before_a_phase(monkeypatch, capsys):
    monkeypatch.setattr(module, "err", Console(stderr=True, force_terminal=False))
    with module.Bars() as bars:
        bars.advance(1.0)
        bars.job_done()
    assert capsys.readouterr().err == ""
