import json
import re

import pytest

import chipmend
from chipmend.cli import app as module
from chipmend.errors import StoreError

VERBS = ("analyze", "chips", "compare", "demo", "mend", "report")
MAKE = ("chips", "make", "--array", "4x4", "--rate", "0.1", "-o", "lot.npz")


@pytest.mark.parametrize("words", [["--help"], []])
def test_help_names_every_verb(workshop, words):
    shown = workshop.done(*words)
    assert [verb for verb in VERBS if not re.search(rf"\b{verb}\b", shown)] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(workshop, verb):
    assert verb in workshop.done(verb, "--help")


def test_the_version_is_shown(workshop):
    assert workshop.done("--version").split() == ["chipmend", chipmend.__version__]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mned", "p.toml"], 'Did you mean "mend"'),
        (["chips", "mak"], 'Did you mean "make"'),
        (["mend"], "requires an argument"),
        (["mend", "p.toml", "--jsn", "x"], "--jsn"),
        (["chips", "make", "--array", "4x4"], "requires an argument"),
        ([*MAKE, "--count", "x"], "--count"),
        ([*MAKE, "--spatial", "round"], "round"),
    ],
)
def test_a_misspelt_command_line_is_refused_with_what_there_is(workshop, words, said):
    error = workshop.refused(*words)
    assert said in error
    assert "chipmend COMMAND --help" in error


def test_a_word_too_many_and_a_number_that_is_none_are_told_in_words(workshop):
    assert "nothing is asked for by 'b'" in workshop.refused("report", "a", "b")
    assert "write a whole number" in workshop.refused(*MAKE, "--count", "1.5")


def test_an_interruption_says_how_to_go_on(workshop, monkeypatch):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("chipmend.plan.read_plan", interrupted)
    code, _, err = workshop("mend", "p.toml")
    assert code == 130
    assert "the same command goes on" in err


def test_a_summary_and_the_path_of_what_was_made_end_a_verb(tmp_path, capsys):
    module.finish(tmp_path / "made", lambda: {"a": 1}, tmp_path / "new" / "s.json")
    assert json.loads((tmp_path / "new" / "s.json").read_text()) == {"a": 1}
    assert capsys.readouterr().out == f"{tmp_path / 'made'}\n"


def test_without_json_the_summary_is_not_even_made(capsys):
    module.finish(None, lambda: 1 / 0, None)
    assert capsys.readouterr().out == ""


def test_a_summary_that_cannot_be_written_is_our_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot write"):
        module.finish(None, dict, tmp_path / "file" / "s.json")


def test_paths_are_shown_whole_however_narrow_the_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    long = tmp_path / ("[bold]" + "x" * 60)
    module.finish(long, dict, None)
    assert capsys.readouterr().out == f"{long}\n"


@pytest.mark.parametrize(
    ("words", "code"), [(["--help"], 0), (["--version"], 0), (["mned"], 2), (["mend", "no"], 2)]
)
def test_the_console_script_ends_with_the_exit_code(workshop, words, code):
    ended = workshop.process(*words)
    assert ended.returncode == code
    assert ("error: " in ended.stderr) == (code == 2)
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("words", [["--help"], ["chips", "make", "--help"], ["--version"]])
def test_help_does_not_import_torch(workshop, words):
    code = "import sys; from chipmend.cli import main; import chipmend.cli.app as a\n"
    code += f"ended = a.run({words})\nsys.exit(ended or 7 * ('torch' in sys.modules))"
    assert workshop.process(code=code).returncode == 0


def test_a_table_is_whole_in_a_narrow_terminal(workshop, monkeypatch):
    plan = workshop.plan(policy={"kind": "steps", "label": "a name of thirty characters !!"})
    monkeypatch.setenv("COLUMNS", "30")
    shown = workshop.done("mend", plan)
    assert "a name of thirty characters !!" in shown
    assert "…" not in shown
