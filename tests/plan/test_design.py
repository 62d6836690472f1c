import re
import tomllib
from pathlib import Path

import pytest

from chipmend.errors import PlanError
from chipmend.hardware import Array
from chipmend.plan import DesignPlan, read_design_plan
from chipmend.plan.design import ErrorRates
from chipmend.protect.design import Space, Targets
from chipmend.protect.search import Searching
from chipmend.simulate import BitErrors

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "design-plan.md"
SHORT = """
[model]
zoo = "vgg11"
[data]
name = "fashion-mnist"
[array]
rows = 8
cols = 4
[errors]
accumulator = [1e-6]
"""


def read(tmp_path, text):
    path = tmp_path / "plan.toml"
    path.write_text(text)
    return read_design_plan(path)


def test_the_shortest_plan_is_filled_with_defaults(tmp_path):
    plan, tables = read(tmp_path, SHORT)
    assert tables == tomllib.loads(SHORT)
    assert plan.array == Array(rows=8, cols=4)
    assert (plan.targets, plan.space, plan.search) == (Targets(), Space(), Searching())


def test_the_example_of_the_documentation_holds_the_defaults_it_says_it_does(tmp_path):
    text = DOCS.read_text()
    (example,) = re.findall("```toml\n(.*?)```", text, re.DOTALL)
    plan, _ = read(tmp_path, example)
    assert isinstance(plan, DesignPlan)
    assert (plan.targets, plan.space, plan.search) == (Targets(), Space(), Searching())
    assert plan.errors.rates() == [BitErrors(accumulator=1e-6), BitErrors(accumulator=2e-6)]


def test_each_rate_is_beside_those_of_buffers():
    rates = ErrorRates(product=(1e-6, 1e-5), weights=1e-8, activations=1e-7).rates()
    beside = {"weights": 1e-8, "activations": 1e-7}
    assert rates == [BitErrors(product=1e-6, **beside), BitErrors(product=1e-5, **beside)]


@pytest.mark.parametrize(
    ("was", "instead", "said"),
    [
        ("[1e-6]", "[0.0]", "errors: a rate of 0"),
        ("[1e-6]", "[0.6]", r"errors: bit errors: accumulator is 0\.6"),
        ("[1e-6]", "[]", "errors: no rate"),
        ("[1e-6]", "1e-6", "errors.accumulator: write a list"),
        ("[1e-6]", "[1e-6]\nproduct = [1e-6]", "errors: rates of accumulators and of multipliers"),
        ("accumulator", "acumulator", "did you mean 'accumulator'"),
        ("[errors]", "[chips]", "errors: missing"),
        ("[errors]", "[target]\n[errors]", "target: unknown; did you mean 'targets'"),
        ("[errors]", "[targets]\nslowdown = -1\n[errors]", "targets: targets.slowdown is -1"),
        ("[errors]", "[targets]\ndrop_under_faults = 0\n[errors]", "no sample can make sure"),
        ("[errors]", "[space]\nlanes = []\n[errors]", "space: space.lanes is empty"),
        ("[errors]", '[space]\nbuffers = ["hamming"]\n[errors]', "write 'bare', 'parity' or 'ecc'"),
        ("[errors]", "[search]\nevaluations = 0\n[errors]", "search.evaluations is 0"),
        ("[errors]", '[search]\nmethod = "grid"\n[errors]', "'bayesian' or 'sobol-greedy'"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path, was, instead, said):
    with pytest.raises(PlanError, match=said):
        read(tmp_path, SHORT.replace(was, instead))
