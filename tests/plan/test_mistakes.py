import copy
import tomllib

import pytest

from plans import WHOLE, mistakes

EVERYTHING_WRONG = """
sede = 1
[model]
zoo = "vgg12"
widht = 1
[data]
name = "mnist-fashion"
pth = "x"
[array]
rows = "many"
[chips]
rate = 0.1
cout = 3
spatial = {kind = "clusterd"}
[constraint]
drop = 1.8
extra = 1
[analysis]
spatial = {kind = "clustered", alpha = 0.01}
repeats = 0
[policy]
kind = "until_met"
incremnt = 1
[policy.retrain]
schedule = {kind = "anytme"}
lerning_rate = 0.1
[execution]
workers = "many"
threds = 2
"""


def test_every_mistake_is_stated_at_once_with_its_path_and_what_was_meant():
    found = mistakes(tomllib.loads(EVERYTHING_WRONG))
    expected = [
        "sede: unknown; did you mean 'seed'?",
        "model.zoo: write 'alexnet', 'mobilenet_v2', 'resnet18', 'vgg11', 'vgg16' or 'vit', "
        "not 'vgg12'",
        "model.widht: unknown; did you mean 'width'?",
        "data.pth: unknown; did you mean 'path'?",
        "array.rows: write a whole number, not 'many'",
        "array.cols: missing",
        "chips.count: missing",
        "chips.cout: unknown; did you mean 'count'?",
        "chips.spatial.kind: 'clusterd' is unknown; write 'uniform', 'clustered', 'lines'",
        "constraint.extra: unknown",
        "policy.incremnt: unknown; did you mean 'increment'?",
        "policy.retrain.schedule.kind: 'anytme' is unknown; write 'anytime', 'decaying'",
        "policy.retrain.lerning_rate: unknown; did you mean 'learning_rate'?",
        "execution.workers: write a whole number, not 'many'",
        "execution.threds: unknown; did you mean 'threads'?",
    ]
    assert set(expected) <= set(found)
    assert any(line.startswith("analysis.spatial: clustered faults") for line in found)
    assert len(found) == len(set(found)) == len(expected) + 1


ARRAY = {"rows": 4, "cols": 4}


def with_stuck(table):
    return {"chips": {"rate": 0.1, "count": 1, "stuck": table}}


@pytest.mark.parametrize("table", ["model", "data", "array", "chips", "constraint"])
def test_a_missing_table_is_named(table):
    assert mistakes({k: v for k, v in WHOLE.items() if k != table}) == [f"{table}: missing"]


def test_an_empty_plan_misses_every_table():
    assert mistakes({}) == [
        f"{t}: missing" for t in ("model", "data", "array", "chips", "constraint")
    ]


def test_a_misspelt_rate_is_missing_and_unknown():
    assert mistakes(WHOLE | {"chips": {"rat": 0.1, "count": 1}}) == [
        "chips: write file, or rate and count",
        "chips.rat: unknown; did you mean 'rate'?",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"modle": {}}, "modle: unknown; did you mean 'model'?"),
        ({"polcy": {}}, "polcy: unknown; did you mean 'policy'?"),
        ({"model": 5}, "model: write a table, not 5"),
        ({"model": {}}, "model: write zoo, or factory"),
        (
            {"model": {"zoo": "vgg11", "factory": "a:b"}},
            "model.factory: does not go together with zoo",
        ),
        ({"model": {"factory": "a:b", "wieghts": "x"}}, "did you mean 'weights'?"),
        ({"model": {"factory": 3}}, "model.factory: write a text in quotes, not 3"),
        ({"data": {"name": "mnist"}}, "there is no data set 'mnist' (write fashion-mnist"),
        ({"data": {"factory": "a:b", "option": {}}}, "data.option: unknown; did you mean"),
        ({"array": {"rows": 8, "cols": 0}}, "array: an array of 8 x 0 has no PE"),
        ({"array": {"rows": 8, "cols": 8, "placement": "im2row"}}, "'im2col' or 'channel'"),
        ({"chips": {"file": 3}}, "chips.file: write a text in quotes, not 3"),
        ({"chips": {"file": "a", "count": 2}}, "chips.count: does not go together with file"),
        (
            {"chips": {"file": "a", "rate": [0.1, 0.3]}},
            "chips.rate: does not go together with file",
        ),
        (
            {"policy": {"kind": "efat", "coverage": 0.9}},
            "policy.coverage: there is none where kind is 'efat'; reduce and cascade have",
        ),
        (
            {"policies": [{"kind": "fixed", "epochs": 1.0, "increment": 0.1}]},
            "policies.0.increment: there is none where kind is 'fixed'; until_met and cascade have",
        ),
        ({"analysis": {"trial": {}}}, "analysis.trial: write file, or rate"),
        ({"analysis": {"trial": {"file": "none"}}}, "analysis.trial: cannot read the trial lot"),
        (
            {"analysis": {"trial": {"rate": 0.1, "files": 3}}},
            "analysis.trial.files: unknown; did you mean 'file'?",
        ),
        ({"margin": {"hidden": 2}}, "margin: a margin with 2.0 hidden (give a fraction above 0"),
        ({"analysis": {"until": {"drop": 1.8}}}, "analysis.until: a drop of 1.8"),
        ({"analysis": {"until": {}}}, "analysis.until: write drop, or accuracy"),
        ({"analysis": {"until": {"drop": 0.1, "accuracy": 0.9}}}, "accuracy: does not go together"),
        ({"chips": {}}, "chips: write file, or rate and count"),
        ({"chips": {"rate": 2, "count": 1}}, "chips: a fault rate of 2"),
        ({"chips": {"rate": float("nan"), "count": 1}}, "chips: a fault rate of nan"),
        ({"chips": {"rate": [0.3, 0.2], "count": 1}}, "chips: the lowest fault rate, 0.3, is"),
        ({"chips": {"rate": 0.1, "count": 0}}, "chips: 0 chips asked for"),
        ({"chips": {"rate": 0.1, "count": True}}, "chips.count: write a whole number, not True"),
        ({"constraint": {"drop": True}}, "constraint.drop: write a number, not True"),
        ({"policy": {"kind": "fixed", "epochs": "1"}}, "policy.epochs: write a number, not '1'"),
        ({"execution": {"workers": 0}}, "execution: 0 workers (give 1 to 1,024"),
        ({"execution": {"threads": -1}}, "execution: -1 threads (give 1 to 1,024"),
        ({"execution": {"threads": 10**5}}, "execution: 100000 threads (give 1 to 1,024"),
        ({"chips": "lot.npz"}, "chips: "),
        ({"policies": []}, "the plan: no policy (give at least one)"),
        (
            {"policies": [{"kind": "reduce"}, {"kind": "reduce"}]},
            "the plan: policies of the same name: Reduce-max (give each policy once",
        ),
        (
            {"policy": {"kind": "reduce", "statistic": "quantile"}},
            "policy: reduce: statistic 'quantile' with a quantile of None",
        ),
        (
            {"policy": {"kind": "reduce", "quantile": 0.5}},
            "policy: reduce: statistic 'max' with a quantile of 0.5",
        ),
        ({"chips": {"rate": 0.1, "count": 1.5}}, "chips.count: write a whole number, not 1.5"),
        ({"chips": {"rate": "x", "count": 1}}, "rate: write a number, or a list of two, not 'x'"),
        ({"chips": {"count": 1}}, "chips: write file, or rate and count"),
        ({"chips": {"rate": [0.1], "count": 1}}, "or a list of two, not [0.1]"),
        ({"chips": {"rate": [0, 0, 1], "count": 1}}, "or a list of two, not [0, 0, 1]"),
        ({"chips": {"rate": 0.1, "count": 1, "spread": "evn"}}, "'drawn' or 'even', not 'evn'"),
        ({"chips": {"rate": 0.1, "count": 1, "spatial": {}}}, "chips.spatial.kind: missing"),
        ({"constraint": {"drop": 2.0}}, "constraint: a drop of 2.0 is no constraint"),
        ({"constraint": {"accuracy": 91}}, "0.91 is 91 %"),
        ({"constraint": {}}, "constraint: write drop, or accuracy"),
        ({"constraint": {"drop": 0.1, "accuracy": 0.9}}, "constraint.accuracy: does not go"),
        ({"constraint": {"drop": "x"}}, "constraint.drop: write a number, not 'x'"),
        ({"policy": {"kind": "fixd"}}, "policy.kind: 'fixd' is unknown; write 'steps', 'fixed'"),
        ({"array": ARRAY | {"memory": {"word": 9}}}, "array.memory.word: unknown; did you mean"),
        ({"array": ARRAY | {"memory": {"words": 0}}}, "array.memory: memory: words is 0"),
        ({"array": ARRAY | {"memory": {"coding": "gray"}}}, "array.memory.coding: write 'twos_"),
        (with_stuck({"rate": "x"}), "chips.stuck.rate: write a number, or a list of two, not 'x'"),
        (with_stuck({"rate": 2}), "chips.stuck: a rate of stuck bits of 2.0"),
        (with_stuck({"rat": 0.1, "rate": 0.1}), "chips.stuck.rat: unknown; did you mean 'rate'?"),
        (with_stuck({}), "chips.stuck.rate: missing"),
        (
            with_stuck({"rate": 0.1, "cells": {"kind": "lines"}}),
            "chips.stuck.cells.kind: 'lines' is",
        ),
        ({"policy": {}}, "policy.kind: missing"),
        ({"policy": {"kind": "fixed"}}, "policy.epochs: missing"),
        ({"policy": {"kind": "fixed", "epochs": -1}}, "policy: fixed: -1.0 epochs"),
        (
            {"policy": {"kind": "steps", "lable": "x"}},
            "policy.lable: unknown; did you mean 'label'",
        ),
        ({"policy": {"kind": "steps", "steps": [{"kind": "retran"}]}}, "policy.steps.0.kind: "),
        ({"policy": {"kind": "steps", "steps": []}}, "policy: steps: 'FAP' does not begin"),
        ({"policies": {"kind": "fixed", "epochs": 1}}, "policies: write a list, not {"),
        (
            {"policies": [{"kind": "reduce"}, {"kind": "reduce", "statistic": "most"}]},
            "policies.1.statistic: ",
        ),
        (
            {"policy": {"kind": "reduce"}, "policies": [{"kind": "reduce"}]},
            "policy: stands beside policies; write [policy] or [[policies]]",
        ),
        ({"analysis": {"amounts": [0.1, 0.2]}}, "let them ascend, beginning with 0"),
        ({"analysis": {"retrain": {"epochs": 0}}}, "analysis.retrain: retrain: 0.0 epochs"),
        ({"execution": {"worker": 2}}, "execution.worker: unknown; did you mean 'workers'?"),
        ({"seed": "x"}, "seed: write a whole number, not 'x'"),
        ({"model": {"factory": "a:b", "options": 3}}, "model.options: write a table, not 3"),
        (
            {"policy": {"kind": "fixed", "epochs": 1, "decaying": "maybe"}},
            "policy.decaying: write true or false, not 'maybe'",
        ),
    ],
)
def test_a_single_mistake_is_the_only_one_stated(changes, said):
    found = mistakes(copy.deepcopy(WHOLE) | changes)
    assert any(said in line for line in found), found
    assert len({line.split(":")[0] for line in found}) == 1
