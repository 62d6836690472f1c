import ast
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from contracts.policy_contract import PolicyContract

EXAMPLES = Path(__file__).parents[1] / "examples"


def shown_by(name):
    ended = subprocess.run(
        [sys.executable, EXAMPLES / name],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def classes_of(name):
    """The classes of an example as a module, without what the example does."""
    tree = ast.parse((EXAMPLES / f"{name}.py").read_text())
    kept = (ast.Import, ast.ImportFrom, ast.ClassDef)
    tree.body = [part for part in tree.body if isinstance(part, kept)]
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(tree, name, "exec"), vars(module))
    return module


class TestOwnPolicy(PolicyContract):
    @pytest.fixture
    def policy(self):
        return classes_of("own_policy").Proportional()


@pytest.mark.parametrize(("name", "lines"), [("own_network.py", 30), ("own_policy.py", 50)])
def test_the_examples_are_as_short_as_the_documentation_says(name, lines):
    assert len((EXAMPLES / name).read_text().splitlines()) < lines


def test_a_network_of_one_s_own_is_mended_for_every_chip():
    shown = shown_by("own_network.py")
    accuracies = [float(a) for a in re.findall(r"accuracy (\S+)", shown)]
    assert len(accuracies) == 4
    assert min(accuracies) > 0.85, "four classes: guessing gives 0.25"
    assert "repaired" in shown
    assert "retrained" in shown


def test_a_policy_of_one_s_own_stands_beside_the_others():
    lines = shown_by("own_policy.py").splitlines()
    assert [line.split()[0] for line in lines] == [
        name for name in ("Fixed(1)", "UntilMet(0.1)", "Proportional") for _ in range(4)
    ]
    spent = [float(line.split()[-2]) for line in lines if line.startswith("Proportional")]
    assert spent == sorted(spent), "more faults, more retraining"
