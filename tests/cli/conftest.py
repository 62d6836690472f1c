"""What the tests of the command line share: a user with a network, data and plans of their own."""

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chipmend.cli.app import run

SHELF = '''
import torch
from torch import nn
from chipmend.policy import Fixed

torch.set_num_threads(1)

def split(samples, seed):
    """The brighter half of a noisy picture is its class."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 2, (samples,), generator=generator)
    pictures = torch.randn(samples, 1, 4, 4, generator=generator)
    for target in (0, 1):
        pictures[targets == target, :, :, 2 * target : 2 * target + 2] += 0.7
    return pictures, targets

def splits():
    return split(128, 1), split(96, 2), split(96, 3)

def untrained(width=6):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(),
        nn.Linear(16 * width, 2),
    )

def network(width=6):
    model, (pictures, targets) = untrained(width), split(128, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for _ in range(15):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(pictures), targets).backward()
        optimizer.step()
    return model.eval()

def without_layers():
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16))

def not_a_number():
    model = network()
    with torch.no_grad():
        model[0].weight[0] = float("nan")
    return model

def with_one_output():
    class Spoilt(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()
        def forward(self, x):
            return self.inner(x)[:, :1]
    return Spoilt()

class Own(Fixed):
    pass

class Raising(Fixed):
    def next(self, group, constraint, seen, table):
        raise KeyError("oh")
'''
PLAN = {
    "model": {"factory": "shelf:network"},
    "data": {"factory": "shelf:splits"},
    "array": {"rows": 4, "cols": 4},
    "chips": {"rate": [0.1, 0.5], "count": 3},
    "constraint": {"drop": 0.1},
    "policy": {
        "kind": "fixed",
        "epochs": 1.0,
        "retrain": {"batch": 32, "recalibrate": {"samples": 64}},
    },
    "analysis": {
        "rates": [0.2, 0.5],
        "amounts": [0.0, 0.5, 1.0],
        "repeats": 2,
        "retrain": {"batch": 32, "recalibrate": {"samples": 64}},
    },
    "execution": {"run": "run", "workers": 1, "threads": 1},
}


def toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


class Workshop:
    """A folder of a user's, and their terminal.

    Args:
        folder: Where the user is.
        capsys: What their terminal shows.
    """

    def __init__(self, folder, capsys):
        self.folder, self._capsys = folder, capsys

    def plan(self, name="plan.toml", **changes):
        """Write a plan that differs from a sound one by some tables; None leaves one out."""
        tables = {k: v for k, v in (copy.deepcopy(PLAN) | changes).items() if v is not None}
        text = "\n".join(f"{table} = {toml(content)}" for table, content in tables.items())
        (self.folder / name).write_text(text)
        return self.folder / name

    def __call__(self, *words):
        """Exit code, and what was shown on the two streams."""
        self._capsys.readouterr()
        code = run([str(word) for word in words])
        shown = self._capsys.readouterr()
        return code, shown.out, shown.err

    def done(self, *words):
        """What was shown by a command that has to succeed."""
        code, out, err = self(*words)
        assert code == 0, err
        return out

    def refused(self, *words):
        """The error of a command that has to be refused: in one piece, and ours."""
        code, _, err = self(*words)
        assert code == 2
        said = err[err.index("error: ") :]
        assert "Traceback" not in err
        assert "hint: " in said, said
        return " ".join(said.split())

    def process(self, *words, code=None, **options):
        """The same in a process of its own."""
        command = [sys.executable, "-c", code] if code else [console_script()]
        tell = {**os.environ, "OMP_NUM_THREADS": "1"}
        tell.pop("PYTHONPATH", None)  # what a plan names lies beside it
        return subprocess.run(
            [*command, *map(str, words)],
            cwd=self.folder,
            env=tell,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **options,
        )

    def summary(self, name="s.json"):
        return json.loads((self.folder / name).read_text())


def console_script():
    beside = Path(sys.executable).with_name("chipmend")
    return str(beside) if beside.exists() else shutil.which("chipmend")


@pytest.fixture
def workshop(tmp_path, monkeypatch, capsys):
    (tmp_path / "shelf.py").write_text(SHELF)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    sys.modules.pop("shelf", None)
    yield Workshop(tmp_path, capsys)
    sys.modules.pop("shelf", None)
