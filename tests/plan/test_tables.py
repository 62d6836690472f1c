import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from chipmend.confidence import Drop
from chipmend.errors import LotError, NetworkError
from chipmend.faults import Clustered, make_chips
from chipmend.hardware import Array
from chipmend.plan import DesignPlan, Plan, parse_plan
from chipmend.plan.mistakes import TABLES
from chipmend.policy import Cascade, Fixed, FixedSteps, Looks, Reduce, UntilMet
from chipmend.resilience import Analysis
from chipmend.steps import (
    Compensate,
    Distill,
    Magnitude,
    OneShot,
    Prune,
    Reestimate,
    Remap,
    Retrain,
)
from plans import WHOLE, plan

REPAIR = [
    {"kind": "remap", "saliency": {"kind": "magnitude"}},
    {"kind": "prune"},
    {"kind": "compensate", "form": {"kind": "one_shot", "damping": 0.1}},
]
DOCS = Path(__file__).parents[2] / "docs" / "reference" / "plan.md"


def test_every_kind_of_policy_is_made_of_its_table():
    retrain = {"learning_rate": 0.1, "recalibrate": {"samples": 64}}
    made = plan(
        policies=[
            {"kind": "steps", "label": "two", "steps": [{"kind": "prune"}, {"kind": "retrain"}]},
            {"kind": "fixed", "epochs": 0.5, "decaying": True, "retrain": retrain},
            {"kind": "until_met", "most": 2, "confidence": 0.9, "looks": {"shares": [0.5, 1]}},
            {"kind": "reduce", "statistic": "quantile", "quantile": 0.8, "start": REPAIR},
            {"kind": "cascade", "rungs": [REPAIR[1:], REPAIR], "amounts": []},
        ]
    )
    own = Retrain(learning_rate=0.1, recalibrate=Reestimate(samples=64))
    repair = (Remap(saliency=Magnitude()), Prune(), Compensate(form=OneShot(damping=0.1)))
    assert made.deciders() == (
        FixedSteps(label="two", steps=(Prune(), Retrain())),
        Fixed(epochs=0.5, decaying=True, retrain=own),
        UntilMet(most=2.0, confidence=0.9, looks=Looks(shares=(0.5, 1.0))),
        Reduce(statistic="quantile", quantile=0.8, start=repair),
        Cascade(rungs=(repair[1:], repair), amounts=()),
    )


def test_an_analysis_is_made_of_its_table():
    retrain = {"teacher": {"kind": "distill", "temperature": 4}}
    given = {"start": REPAIR, "rungs": [REPAIR], "share": 0.5, "until": {"drop": 0.02}}
    repair = (Remap(saliency=Magnitude()), Prune(), Compensate(form=OneShot(damping=0.1)))
    assert plan(analysis={**given, "retrain": retrain}).analysis == Analysis(
        start=repair,
        rungs=(repair,),
        share=0.5,
        until=Drop(0.02),
        retrain=Retrain(teacher=Distill(temperature=4.0)),
    )


def test_chips_are_made_as_by_hand():
    chips = {"rate": [0.1, 0.5], "count": 3, "spread": "even", "seed": 4}
    made = plan(chips={**chips, "spatial": {"kind": "clustered", "alpha": 1.0}}).lot()
    spatial, array = Clustered(alpha=1.0), Array(rows=8, cols=8)
    expected = make_chips(array, rate=(0.1, 0.5), count=3, spread="even", seed=4, spatial=spatial)
    assert [chip.faults for chip in made] == [chip.faults for chip in expected]


def test_a_lot_that_is_nowhere_is_our_error():
    with pytest.raises(LotError, match=r"cannot read the lot nowhere\.npz"):
        plan(chips={"file": "nowhere.npz"}).lot()


def test_a_plan_names_the_files_that_it_reads():
    assert plan().files() == []
    model = {"factory": "a:b", "weights": "w.safetensors"}
    named = plan(chips={"file": "lot.npz"}, model=model).files()
    assert [path.name for path in named] == ["w.safetensors", "lot.npz"]


def test_a_width_without_trained_weights_is_our_error_that_says_which_there_are():
    with pytest.raises(NetworkError, match=r"width 0\.3"):
        plan(model={"zoo": "vgg11", "width": 0.3}).task()


def examples():
    """The TOML examples of the documentation."""
    return [block.split("```")[0] for block in DOCS.read_text().split("```toml\n")[1:]]


@pytest.mark.parametrize("example", examples())
def test_the_examples_of_the_documentation_are_plans(example):
    tables = tomllib.loads(example)
    assert parse_plan(WHOLE | tables, "plan.md").policies


def test_the_documentation_names_every_field_of_every_table():
    text = DOCS.read_text() + DOCS.with_name("design-plan.md").read_text()
    kinds = {kind for kinds in TABLES.values() for kind in kinds} | {Plan, DesignPlan}
    names = {field.name for kind in kinds for field in fields(kind) if field.init}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_the_complete_example_of_the_documentation_holds_the_defaults_it_says_it_does():
    made = parse_plan(tomllib.loads(examples()[0]), "plan.md")
    fixed, until_met, reduce = made.policies[1:4]
    assert (made.policies[0], until_met, reduce) == (FixedSteps(), UntilMet(), Reduce())
    assert fixed == Fixed(epochs=0.5)
    assert made.policies[5] == Cascade()
    assert made.analysis == plan().analysis
    assert (made.chips.spatial, made.chips.spread) == (plan().chips.spatial, "drawn")
