import re

import pytest
from rich.console import Console

from chipmend.cli import bars as module


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on when it is told to."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def test_in_a_log_there_is_a_line_per_job_with_the_time_left(monkeypatch, capsys, clock):
    monkeypatch.setattr(module, "err", Console(stderr=True, force_terminal=False, width=120))
    with module.Bars() as bars:
        bars.phase("mending chips", 5, 1)
        bars.advance(0.5)
        bars.advance(0.25)
        clock.now += 120
        bars.job_done()
        clock.now += 60
        bars.job_done()
        bars.job_done()
        bars.job_done()
    assert capsys.readouterr().err.splitlines() == [
        "mending chips: 1 of 5, done before",
        "mending chips: 2 of 5, 0.75 EE, 0:06:00 left",
        "mending chips: 3 of 5, 0.75 EE, 0:03:00 left",
        "mending chips: 4 of 5, 0.75 EE, 0:01:00 left",
        "mending chips: 5 of 5, 0.75 EE, 0:00:00 left",
    ]


@pytest.mark.parametrize("width", [80, 200])
def test_on_a_terminal_there_is_a_bar_per_phase_with_the_time_left(
    monkeypatch, capsys, clock, width
):
    """However long the jobs are, and also while the next one is under way."""
    monkeypatch.setattr(module, "err", Console(stderr=True, force_terminal=True, width=width))

    def shown():
        bars._bars.refresh()
        return re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err).splitlines()[-1]

    with module.Bars() as bars:
        bars.phase("resilience analysis", 4, 0)
        assert "0/4" in shown()
        assert "? left" in shown()
        clock.now += 300
        bars.job_done()
        assert "0:15:00 left" in shown()
        clock.now += 120
        assert "0:13:00 left" in shown()
        for _ in range(3):
            bars.job_done()
        bars.phase("mending chips", 2, 2)
        assert "2/2" in shown()
        assert "left" not in shown()


def test_a_phase_without_training_speaks_of_no_epochs(monkeypatch, capsys, clock):
    monkeypatch.setattr(module, "err", Console(stderr=True, force_terminal=False, width=120))
    with module.Bars() as bars:
        bars.phase("scoring the clean network", 2, 0)
        clock.now += 5
        bars.job_done()
    assert capsys.readouterr().err.splitlines() == [
        "scoring the clean network: 0 of 2",
        "scoring the clean network: 1 of 2, 0:00:05 left",
    ]


def test_nothing_is_counted_before_a_phase(monkeypatch, capsys):
    monkeypatch.setattr(module, "err", Console(stderr=True, force_terminal=False))
    with module.Bars() as bars:
        bars.advance(1.0)
        bars.job_done()
    assert capsys.readouterr().err == ""


def test_beside_each_other_jobs_are_waited_for_and_the_clock_starts_with_the_first(
    monkeypatch, capsys, clock
):
    """Two workers take 20 s to start, then every job takes 60 s."""
    monkeypatch.setattr(module, "err", Console(stderr=True, force_terminal=False, width=120))
    with module.Bars() as bars:
        bars.phase("mending chips", 6, 0)
        clock.now += 20
        bars.job_begun()
        bars.job_begun()
        for _ in range(2):
            clock.now += 60
            bars.job_done()
            bars.job_begun()
            bars.job_done()
            bars.job_begun()
    left = [line.split(", ")[-1] for line in capsys.readouterr().err.splitlines()]
    assert left == [
        "mending chips: 0 of 6",
        "? left",
        "0:02:00 left",
        "0:02:00 left",
        "0:01:00 left",
    ]
