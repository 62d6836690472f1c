import importlib.util
import re
import shutil
from pathlib import Path

import pytest

from campaigns import mended
from chipmend.policy import FixedSteps
from chipmend.report import markdown_table

SCRIPT = Path(__file__).parents[2] / "reproduce" / "reduce" / "readme_table.py"


def the_script():
    spec = importlib.util.spec_from_file_location("readme_table", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The script, at work on a README and a folder of results of the test's own."""
    module = the_script()
    shutil.copy(module.README, tmp_path / "README.md")
    monkeypatch.setattr(module, "README", tmp_path / "README.md")
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    return module


def test_a_run_s_table_stands_in_the_readme_and_its_outcome_in_the_results(script, task, tmp_path):
    before = script.README.read_text()
    outcome = mended(task, run=tmp_path / "run", policies=[FixedSteps()])
    script.main([str(tmp_path / "run")])
    after = script.README.read_text()
    assert markdown_table(outcome) in after
    outside = [
        re.sub("<!-- reduce.*end of reduce study -->", "", t, flags=re.S) for t in (before, after)
    ]
    assert outside[0] == outside[1] != before
    script.main([])
    assert script.README.read_text() == after
    assert (script.RESULTS / "outcome.json").read_bytes() == (
        tmp_path / "run" / "outcome.json"
    ).read_bytes()


def test_a_folder_without_a_finished_run_is_an_error_in_words(script, tmp_path):
    with pytest.raises(SystemExit, match="error: there is no finished run in"):
        script.main([str(tmp_path / "nowhere")])


def test_the_readme_shows_the_table_of_the_results_that_are_kept():
    module = the_script()
    assert module.readme_with_table() == module.README.read_text()
    assert "| Reduce-max |" in module.README.read_text()


def test_without_results_the_script_says_what_it_wants(script):
    with pytest.raises(SystemExit, match="no results are kept yet: give the run folder"):
        script.main([])
