"""Whatever a user may give: an error of ours that says what, where and what next."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import chipmend as cm
from chipmend.errors import (
    ChipmendError,
    ConstraintError,
    DataError,
    FaultMapError,
    LotError,
    MetricError,
    NetworkError,
)
from chipmend.fleet import read_outcome
from chipmend.fleet.store import SqliteStore
from cli.conftest import console_script

MAKE = ("chips", "make", "-o", "made.npz")
IMPORT = ("chips", "import", "f.csv", "-o", "made.npz", "--array")
HEADER = "chip,class,row,col,word,bit,value\n"
ARRAY = cm.Array(rows=4, cols=4)


def lot_of(workshop, rows=4, cols=4):
    words = ("chips", "make", "--array", f"{rows}x{cols}", "--rate", "0.3", "--count", "3")
    workshop.done(*words, "-o", "lot.npz")
    return workshop.folder / "lot.npz"


def no_lot_file(workshop):
    (workshop.folder / "lot.npz").write_text("chip,class\n")


def an_empty_file(workshop):
    (workshop.folder / "lot.npz").touch()


def a_folder(workshop):
    (workshop.folder / "lot.npz").mkdir()


def another_archive(workshop):
    np.savez(workshop.folder / "lot.npz", a=np.zeros(3))


def a_pickle_inside(workshop):
    np.savez(workshop.folder / "lot.npz", header=np.array([{"a": 1}], dtype=object))


def cut_off(workshop):
    path = lot_of(workshop)
    path.write_bytes(path.read_bytes()[:-100])


def cut_in_the_middle(workshop):
    path = lot_of(workshop)
    path.write_bytes(path.read_bytes()[:700])


def altered(workshop):
    path = lot_of(workshop)
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"chip-0002") + 8] = ord("7")
    path.write_bytes(whole)


LOTS = {
    no_lot_file: "lot.npz is not a lot file",
    an_empty_file: "lot.npz is an empty file",
    a_folder: "cannot read the lot",
    another_archive: "it has no header",
    a_pickle_inside: "lot.npz",
    cut_off: "lot.npz is damaged, cut off or no lot file",
    cut_in_the_middle: "lot.npz is damaged, cut off or no lot file",
    altered: "lot.npz",
    lambda workshop: None: "cannot read the lot",
}


@pytest.mark.parametrize("verb", ["show", "export", "mend"])
@pytest.mark.parametrize(("spoil", "said"), LOTS.items(), ids=[f.__name__ for f in LOTS])
def test_a_lot_that_is_none_is_refused_by_every_verb(workshop, spoil, said, verb):
    spoil(workshop)
    words = {
        "show": ("chips", "show", "lot.npz"),
        "export": ("chips", "export", "lot.npz", "-o", "f.csv"),
        "mend": ("mend", workshop.plan(chips={"file": "lot.npz"})),
    }[verb]
    assert said in workshop.refused(*words)
    assert not (workshop.folder / "f.csv").exists()
    assert not (workshop.folder / "run").exists()


CSVS = {
    "missing column": ("chip,class,row\na,pe,1\n", "missing: 'col', 'word', 'bit', 'value'"),
    "misspelt column": (HEADER.replace("value", "vaule"), "unknown: 'vaule'"),
    "no line": (HEADER, "f.csv has no chips below its header"),
    "nothing at all": ("", "is empty"),
    "row outside": (HEADER + "a,pe,0,0,,,\na,pe,4,0,,,\n", "line 3"),
    "negative column": (HEADER + "a,pe,0,-1,,,\n", "line 2"),
    "no number": (HEADER + "a,pe,x,0,,,\n", "line 2"),
    "half a line": (HEADER + "a,pe,0,0,,,\na,pe,1", "line 3"),
    "broken off in a value": (HEADER + 'a,fatal,,,,,"no clo', "line 2"),
    "unknown class": (HEADER + "a,pee,0,0,,,\n", "line 2"),
    "no chip": (HEADER + ",pe,0,0,,,\n", "line 2: no chip is named"),
    "not text": (b"\xff\xfe\x00\x01", "f.csv"),
    "several": (HEADER + "a,pe,9,0,,,\nb,pe,0,9,,,\n", "line 3"),
}


@pytest.mark.parametrize(("content", "said"), CSVS.values(), ids=CSVS)
def test_a_csv_that_is_wrong_is_refused_with_its_lines(workshop, content, said):
    content = content if isinstance(content, bytes) else content.encode()
    (workshop.folder / "f.csv").write_bytes(content)
    error = workshop.refused(*IMPORT, "4x4")
    assert said in error
    assert "f.csv" in error
    assert not (workshop.folder / "made.npz").exists()


COMMANDS = {
    "rate above 1": ((*MAKE, "--array", "4x4", "--rate", "1.2"), "a fault rate of 1.2"),
    "rate below 0": ((*MAKE, "--array", "4x4", "--rate=-0.1"), "a fault rate of -0.1"),
    "rate nan": ((*MAKE, "--array", "4x4", "--rate", "nan"), "a fault rate of nan"),
    "rate inf": ((*MAKE, "--array", "4x4", "--rate", "0.1:inf"), "a fault rate of inf"),
    "rate text": ((*MAKE, "--array", "4x4", "--rate", "much"), "--rate much: not a rate"),
    "rate of three": ((*MAKE, "--array", "4x4", "--rate", "0:0:1"), "not a rate"),
    "range turned": ((*MAKE, "--array", "4x4", "--rate", "0.5:0.1"), "swap the two"),
    "zero chips": ((*MAKE, "--array", "4x4", "--rate", "0.1", "--count", "0"), "zero chips"),
    "no array": ((*MAKE, "--array", "4", "--rate", "0.1"), "write rows x columns"),
    "array without PEs": ((*MAKE, "--array", "0x4", "--rate", "0.1"), "0 x 4 has no PE"),
    "alpha": (
        (*MAKE, *["--array", "4x4", "--rate", "0.1", "--spatial", "clustered", "--alpha", "0"]),
        "alpha = 0",
    ),
    "no CSV": ((*IMPORT, "4x4"), "f.csv"),
    "no plan": (("mend", "no.toml"), "cannot read no.toml"),
    "no run": (("report", "nowhere"), "no finished run in nowhere"),
}


@pytest.mark.parametrize(("words", "said"), COMMANDS.values(), ids=COMMANDS)
def test_words_that_make_no_sense_are_refused(workshop, words, said):
    assert said in workshop.refused(*words)
    assert not (workshop.folder / "made.npz").exists()


def test_a_chip_that_is_not_in_the_lot_is_refused(workshop):
    error = workshop.refused("chips", "show", lot_of(workshop), "--chip", "c9")
    assert "there is no chip 'c9'" in error
    assert "chip-0001" in error


def weights_of(workshop, spoil):
    import shelf

    state = {name: value.clone() for name, value in shelf.network().state_dict().items()}
    spoil(state)
    save_file(state, workshop.folder / "w.safetensors")
    return {"model": {"factory": "shelf:network", "weights": "w.safetensors"}}


PLANS = {
    "misspelt": ({"modle": {}}, "modle: unknown; did you mean 'model'?"),
    "missing": ({"data": None}, "data: missing"),
    "no factory": ({"model": {"factory": "shelf:netwrok"}}, "cannot import 'shelf:netwrok'"),
    "options": (
        {"model": {"factory": "shelf:network", "options": {"wdth": 3}}},
        "raised TypeError",
    ),
    "no layer for the array": (
        {"model": {"factory": "shelf:without_layers"}},
        "no layer that the array can run",
    ),
    "weights not finite": (
        {"model": {"factory": "shelf:not_a_number"}},
        "weights that are not finite numbers: 0.weight",
    ),
    "outputs that do not fit": (
        {"model": {"factory": "shelf:with_one_output"}},
        "the training split does not go through network, metric and loss",
    ),
    "no weights": (
        {"model": {"factory": "shelf:network", "weights": "no.safetensors"}},
        "cannot read weights from",
    ),
    "constraint out of reach": (
        {"constraint": {"accuracy": 1.0}},
        "no chip can meet 'accuracy >= 100 %': the clean network has",
    ),
    "constraint in percent": ({"constraint": {"accuracy": 91}}, "0.91 is 91 %"),
    "no device": (
        {"execution": {"run": "run", "workers": 1, "device": "abacus"}},
        "there is no device 'abacus'",
    ),
    "no workers": ({"execution": {"run": "run", "workers": 0}}, "0 workers"),
    "no threads": ({"execution": {"run": "run", "workers": 1, "threads": 0}}, "0 threads"),
    "array of another size": (
        {"array": {"rows": 4, "cols": 5}, "chips": {"file": "lot.npz"}},
        "the fault map of chip chip-0001 is for an array of 4 x 4, the plan's array is 4 x 5",
    ),
    "rate": ({"chips": {"rate": float("nan"), "count": 1}}, "a fault rate of nan"),
    "count": ({"chips": {"rate": 0.1, "count": 0}}, "zero chips"),
    "no policy": ({"policy": None, "policies": []}, "no policy"),
    "a policy twice": (
        {"policy": None, "policies": [{"kind": "steps"}, {"kind": "steps"}]},
        "policies of the same name: FAP",
    ),
}


@pytest.mark.parametrize(("changes", "said"), PLANS.values(), ids=PLANS)
def test_a_plan_that_cannot_be_carried_out_is_refused(workshop, changes, said):
    lot_of(workshop)
    assert said in workshop.refused("compare", workshop.plan(**changes))


WEIGHTS = {
    "missing": (lambda state: state.pop("0.bias"), "0.bias is missing"),
    "too many": (
        lambda state: state.update(more=torch.zeros(1)),
        "more is not in the network",
    ),
    "another shape": (
        lambda state: state.update({"0.weight": torch.zeros(6, 1, 5, 5)}),
        "0.weight is 6 x 1 x 5 x 5 where the network has 6 x 1 x 3 x 3",
    ),
}


@pytest.mark.parametrize(("spoil", "said"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights_that_do_not_fit_are_refused_by_name(workshop, spoil, said):
    assert said in workshop.refused("mend", workshop.plan(**weights_of(workshop, spoil)))


def test_weights_that_are_no_safetensors_are_refused(workshop):
    changes = weights_of(workshop, lambda state: None)
    (workshop.folder / "w.safetensors").write_bytes(b"\x80\x04pickle")
    assert "w.safetensors" in workshop.refused("mend", workshop.plan(**changes))


@pytest.mark.parametrize("classes", [["pe"], ["dead_row"], ["dead_col"], ["pe", "dead_col"]])
def test_chips_without_a_single_sound_pe_run_through(workshop, classes):
    lines = {
        "pe": "".join(f"gone,pe,{r},{c},,,\n" for r in range(4) for c in range(4)),
        "dead_row": "".join(f"gone,dead_row,{r},0,,,\n" for r in range(4)),
        "dead_col": "".join(f"gone,dead_col,,{c},,,\n" for c in range(4)),
    }
    text = HEADER + "".join(lines[c] for c in classes) + "good,none,,,,,\n"
    (workshop.folder / "f.csv").write_text(text)
    workshop.done(*IMPORT, "4x4")
    policies = [
        {"kind": "steps"},
        {"kind": "reduce"},
        {"kind": "until_met", "increment": 0.5, "most": 0.5},
    ]
    plan = workshop.plan(chips={"file": "made.npz"}, policy=None, policies=policies)
    workshop.done("compare", plan)
    records = read_outcome(workshop.folder / "run").records
    gone = [r for r in records if r.chip == "gone"]
    assert all(r.effective_rate == 1 and not r.met for r in gone)
    assert {str(r.bin) for r in gone} == {"pruned", "scrapped"}
    assert all(r.reason for r in gone if r.bin == "scrapped")
    assert all(r.met for r in records if r.chip == "good" and r.policy != "UntilMet(0.5)")


def nan_metric(outputs, targets):
    return torch.full((len(targets),), float("nan"))


def mean_metric(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean()


def healthy(chip="a", size=4):
    faulty = np.zeros((size, size), bool)
    return cm.Chip(chip, cm.FaultMap(rows=size, cols=size, faulty_pes=faulty))


CALLS = {
    "metric that gives no number": (lambda t: {"metric": nan_metric}, {}, MetricError, "finite"),
    "metric that gives one mean": (
        lambda t: {"metric": mean_metric},
        {},
        MetricError,
        "per sample",
    ),
    "empty split": (
        lambda t: {"test": (torch.zeros(0, 1, 6, 6), torch.zeros(0))},
        {},
        DataError,
        "test split is empty",
    ),
    "targets missing": (
        lambda t: {"train": (torch.zeros(3, 1, 6, 6), torch.zeros(2))},
        {},
        DataError,
        "3 inputs and 2 targets",
    ),
    "split of another kind": (lambda t: {"validation": 5}, {}, DataError, "validation split"),
    "network without layers": (
        lambda t: {"model": torch.nn.ReLU()},
        {},
        NetworkError,
        "no layer",
    ),
    "no chips": (lambda t: {}, {"chips": []}, LotError, "no chips"),
    "a chip twice": (lambda t: {}, {"chips": [healthy(), healthy()]}, LotError, "same identity: a"),
    "another array": (lambda t: {}, {"chips": [healthy(size=8)]}, FaultMapError, "8 x 8"),
    "out of reach": (
        lambda t: {},
        {"constraint": cm.Accuracy(1.0)},
        ConstraintError,
        "no chip can meet",
    ),
    "no policy": (lambda t: {}, {"policies": []}, ChipmendError, "no policy"),
    "no workers": (lambda t: {}, {"workers": 0}, ChipmendError, "0 workers"),
}


@pytest.mark.parametrize(("of_task", "of_call", "kind", "said"), CALLS.values(), ids=CALLS)
def test_calls_in_python_raise_the_same_errors(task, of_task, of_call, kind, said):
    parts = {
        "model": task.model,
        "train": task.train,
        "validation": task.validation,
        "test": task.test,
    }
    call = {
        "chips": [healthy()],
        "constraint": cm.Drop(0.1),
        "policies": [cm.FixedSteps()],
    } | of_call

    def called():
        made = parts | of_task(task)
        cm.mend(cm.Task(made.pop("model"), **made), call.pop("chips"), array=ARRAY, **call)

    with pytest.raises(kind, match=said) as error:
        called()
    assert error.value.hint


# Run folders


@pytest.mark.parametrize("verb", ["mend", "compare", "analyze"])
@pytest.mark.parametrize("below", ["file/run", "/proc/run"])
def test_a_run_folder_that_cannot_be_written_is_refused(workshop, verb, below):
    (workshop.folder / "file").touch()
    plan = workshop.plan(execution={"run": below, "workers": 1, "threads": 1})
    error = workshop.refused(verb, plan)
    assert "cannot write in" in error
    assert below in error


def test_a_store_that_is_read_only_is_refused_and_nothing_is_lost(workshop, monkeypatch):
    """As on a file system that is mounted read-only."""
    plan = workshop.plan()
    workshop.done("mend", plan)
    connect = sqlite3.connect

    def read_only(database, *arguments, **options):
        options["uri"] = True
        return connect(f"file:{database}?mode=ro", *arguments, **options)

    monkeypatch.setattr(sqlite3, "connect", read_only)
    monkeypatch.setattr(
        "sqlalchemy.dialects.sqlite.pysqlite.SQLiteDialect_pysqlite.import_dbapi",
        classmethod(lambda cls: sqlite3),
    )
    assert "cannot use" in workshop.refused("mend", plan)
    monkeypatch.undo()
    monkeypatch.chdir(workshop.folder)
    monkeypatch.syspath_prepend(workshop.folder)
    workshop.done("mend", plan)


def test_a_store_that_is_no_store_is_refused(workshop):
    (workshop.folder / "run").mkdir()
    (workshop.folder / "run" / "run.sqlite").write_bytes(b"not a database at all" * 99)
    error = workshop.refused("mend", workshop.plan())
    assert "run.sqlite" in error
    assert "the file was damaged: move it away" in error


def test_a_report_or_summary_that_cannot_be_written_keeps_the_run(workshop, monkeypatch):
    (workshop.folder / "file").touch()
    error = workshop.refused("mend", workshop.plan(), "--json", "file/s.json")
    assert "cannot write" in error
    monkeypatch.setattr("chipmend.fleet.mending.Mending.__call__", None)
    workshop.done("mend", workshop.plan(), "--json", "s.json")


OVERWRITING = [
    "chips make --array 4x4 --rate 0.1 -o made --json made",
    "chips import faults.csv --array 4x4 -o faults.csv",
    "chips import faults.csv --array 4x4 -o made --json faults.csv",
    "chips export lot.npz -o lot.npz",
    "chips export lot.npz -o ./run/../lot.npz",
    "chips show lot.npz --picture lot.npz",
    "chips show lot.npz --picture made --json made",
    "analyze plan.toml --json plan.toml",
    "analyze plan.toml --json run/table.json",
    "mend plan.toml --json plan.toml",
    "mend plan.toml --json lot.npz",
    "compare plan.toml --json run/report.html",
    "compare plan.toml --json run/run.sqlite",
    "report run --output run/outcome.json",
    "report run --json run/report.html",
]


@pytest.mark.parametrize("words", OVERWRITING)
def test_nothing_is_written_over_what_is_read_or_over_another_output(workshop, words):
    lot_of(workshop)
    (workshop.folder / "faults.csv").write_text(HEADER + "a,none,,,,,\n")
    workshop.plan(chips={"file": "lot.npz"})
    (workshop.folder / "run").mkdir()
    before = {path.name: path.read_bytes() for path in workshop.folder.iterdir() if path.is_file()}
    assert "would be written over" in workshop.refused(*words.split())
    after = {path.name: path.read_bytes() for path in workshop.folder.iterdir() if path.is_file()}
    assert after == before
    assert not list((workshop.folder / "run").iterdir())


def test_a_device_may_be_written_to_twice(workshop):
    words = ("--array", "4x4", "--rate", "0.1", "-o", "/dev/null", "--json", "/dev/null")
    workshop.done("chips", "make", *words)


def test_files_are_there_also_when_nobody_reads_on(workshop):
    """A pipe into a program that ends at once."""
    words = "chips make --array 4x4 --rate 0.1 -o lot.npz --json s.json"
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [console_script(), *words.split()],
        cwd=workshop.folder,
        stdout=write,
        stderr=subprocess.PIPE,
    )
    os.close(write)
    assert b"Traceback" not in ended.stderr
    assert ended.returncode == 1
    assert workshop.summary()["chips"] == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is of Linux")
def test_a_full_terminal_is_our_error(workshop):
    """Python keeps what it could not write, and tries again at the end of the process."""
    buffered = {name: os.environ[name] for name in os.environ if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [console_script(), "chips", "--help"], env=buffered,
            cwd=workshop.folder, stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert ended.returncode == 2
    assert "ignored" not in ended.stderr
    assert "cannot use the standard output: No space left" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_path_that_cannot_be_one_is_told_with_its_name(workshop):
    name = "x" * 300
    error = workshop.refused("chips", "make", "--array=4x4", "--rate=0.1", "-o", name)
    assert f"{name}: File name too long" in error


def test_a_terminal_without_block_characters_shows_something_else(workshop):
    lot_of(workshop)
    code = "import sys; from chipmend.cli.app import run; sys.exit(run())"
    ended = subprocess.run(
        [sys.executable, "-c", code, "chips", "show", "lot.npz"],
        cwd=workshop.folder, env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr


def test_a_resilience_table_that_cannot_be_cached_does_not_stop_the_run(
    workshop, monkeypatch, tmp_path, caplog
):
    (tmp_path / "cache").touch()
    monkeypatch.setenv("CHIPMEND_CACHE", str(tmp_path / "cache"))
    workshop.done("analyze", workshop.plan())
    (warning,) = caplog.messages
    assert "cannot write" in warning
    assert "other runs will measure the analysis again" in warning


@pytest.mark.parametrize("name", ["plan.toml", "plan.toml/x"])
def test_a_file_is_no_run_folder(workshop, name):
    workshop.plan()
    assert "there is no finished run in" in workshop.refused("report", name)


def test_a_csv_of_semicolons_is_told_so(workshop):
    (workshop.folder / "f.csv").write_text(HEADER.replace(",", ";"))
    assert "separate columns by commas" in workshop.refused(*IMPORT, "4x4")


def test_clustering_of_what_is_not_clustered_is_refused(workshop):
    words = (*MAKE, "--array", "4x4", "--rate", "0.1", "--alpha", "0.5")
    assert "--alpha 0.5 says nothing about uniform faults" in workshop.refused(*words)


def test_a_second_campaign_in_the_same_folder_is_refused(workshop):
    first = SqliteStore(workshop.folder / "run")
    error = workshop.refused("mend", workshop.plan())
    assert "another campaign is running in" in error
    first.close()
    workshop.done("mend", workshop.plan())


CHANGES = {
    "seed": ({"seed": 1}, "seed changed"),
    "policy": ({"policy": {"kind": "fixed", "epochs": 0.5}}, "policies changed"),
    "constraint": ({"constraint": {"drop": 0.2}}, "constraint changed"),
    "array": ({"array": {"rows": 4, "cols": 4, "placement": "channel"}}, "array changed"),
    "chips": ({"chips": {"rate": [0.1, 0.5], "count": 4}}, "chips changed"),
    "network": (
        {"model": {"factory": "shelf:network", "options": {"width": 5}}},
        "network and data changed",
    ),
    "threads": (
        {"execution": {"run": "run", "workers": 1, "threads": 2}},
        "threads per worker was 1, is 2",
    ),
}


def test_a_run_goes_on_under_its_own_fingerprint_alone(workshop):
    workshop.done("mend", workshop.plan(), "--json", "first.json")
    for changes, said in CHANGES.values():
        error = workshop.refused("mend", workshop.plan("other.toml", **changes))
        assert said in error
        assert error.count(" changed") + error.count(" was ") == 2  # and no other part
        assert "begin in another run folder" in error
    workshop.done("mend", workshop.plan(), "--json", "second.json")
    assert workshop.summary("first.json") == workshop.summary("second.json")


LIMIT = 256 * 1024


def limited():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


@pytest.mark.skipif(not Path("/proc").exists(), reason="limits are those of Linux")
def test_on_a_full_disk_it_says_so_and_afterwards_goes_on_without_loss(workshop):
    plan = workshop.plan(chips={"rate": [0.1, 0.5], "count": 30, "spread": "even"})
    ended = workshop.process("mend", plan, preexec_fn=limited)
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "error: cannot use" in ended.stderr
    assert "everything kept so far stays kept" in " ".join(ended.stderr.split())
    told = ended.stderr.count(" of 30, ")
    kept = results_in(workshop.folder / "run")
    assert 0 < told <= len(kept) < 30
    workshop.done("mend", plan, "--json", "s.json")
    assert workshop.summary()["policies"]["Fixed(1)"]["chips"] == 30
    assert {job: results_in(workshop.folder / "run")[job] for job in kept} == kept


def results_in(run):
    store = SqliteStore(run)
    found = store.results("mend")
    store.close()
    return found
