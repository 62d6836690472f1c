from dataclasses import replace

import numpy as np
import pytest
import torch

from campaigns import ARRAY, CONSTRAINT, RETRAIN, chips
from chipmend.errors import FingerprintError
from chipmend.faults import fault_map
from chipmend.faults.generate import Uniform
from chipmend.faults.maps import Chip
from chipmend.fleet import fingerprint as module
from chipmend.fleet.fingerprint import (
    check_same,
    conditions,
    described,
    digest_of_code,
    fingerprint,
)
from chipmend.hardware import Array
from chipmend.network.task import Task
from chipmend.policy import Fixed, Reduce
from chipmend.records import plain

PLAN = {"array": ARRAY, "constraint": CONSTRAINT, "policies": (Fixed(epochs=1.0),), "seed": 0}


def parts(task, *, lot=None, threads=1, **changes):
    return fingerprint(task, chips() if lot is None else lot, {**PLAN, **changes}, threads)


def differing(one, other):
    assert one.keys() == other.keys()
    return [name for name in one if one[name] != other[name]]


def test_the_same_things_have_the_same_fingerprint(task):
    assert parts(task) == parts(task)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"array": Array(rows=8, cols=8, placement="channel")}, "array"),
        ({"constraint": replace(CONSTRAINT, drop=0.2)}, "constraint"),
        ({"policies": (Fixed(epochs=2.0),)}, "policies"),
        ({"policies": (Fixed(epochs=1.0, retrain=replace(RETRAIN, batch=16)),)}, "policies"),
        ({"policies": (Reduce(),)}, "policies"),
        ({"lot": chips()[:3]}, "chips"),
        ({"threads": 2}, "threads per worker"),
    ],
)
def test_each_change_shows_in_its_own_part(task, change, named):
    assert differing(parts(task), parts(task, **change)) == [named]


def test_another_map_under_the_same_identity_is_another_lot(task):
    first, *others = chips()
    swapped = Chip(id=first.id, faults=fault_map(ARRAY, 0.3, Uniform(), seed=9, chip="x"))
    assert differing(parts(task), parts(task, lot=[swapped, *others])) == ["chips"]


def test_a_changed_weight_is_another_network(task):
    model = task.fresh_network()
    next(model.parameters()).data[0] += 1e-3
    other = Task(model, train=task.train, validation=task.validation, test=task.test)
    assert differing(parts(task), parts(other)) == ["network and data"]


def test_a_policy_that_is_no_dataclass_counts_with_its_class_and_fields(task):
    class Own:
        def __init__(self, amount):
            self.amount = amount

    class Other(Own):
        pass

    one, same, more, other = Own(1), Own(1), Own(2), Other(1)
    found = [parts(task, policies=(policy,))["policies"] for policy in (one, same, more, other)]
    assert found[0] == found[1]
    assert len(set(found)) == 3
    assert described(one) == {"class": f"{__name__}.{Own.__qualname__}", "amount": 1}


def test_whole_numbers_are_the_same_as_1_and_as_1_0(task):
    assert parts(task, policies=(Fixed(epochs=1),)) == parts(task, policies=(Fixed(epochs=1.0),))


def test_a_policy_with_arrays_and_sets_is_told_from_another(task):
    class Own:
        def __init__(self, weights):
            self.weights, self.names = weights, {"x", "y"}

    found = [parts(task, policies=(Own(np.arange(n)),))["policies"] for n in (2, 3, 2)]
    assert found[0] == found[2] != found[1]
    assert described(Own(np.arange(2)))["weights"] == [0, 1]


def test_the_code_of_a_policy_counts(task, monkeypatch):
    class Own:
        def next(self, group, constraint, seen, table):
            return 1

    before = parts(task, policies=(Own(),))
    monkeypatch.setattr(Own, "next", lambda self, group, constraint, seen, table: 2)
    assert differing(before, parts(task, policies=(Own(),))) == ["policies"]


def test_it_survives_being_kept(task):
    assert plain(parts(task)) == parts(task)


def test_the_same_fingerprint_passes(task):
    check_same(parts(task), parts(task), "runs/a")


def test_a_refusal_names_the_folder_each_part_and_how_it_changed():
    kept = {**conditions(1, torch.device("cpu")), "chips": "a" * 64, "gone": 1}
    now = {**conditions(2, torch.device("cpu")), "chips": "b" * 64}
    with pytest.raises(FingerprintError) as error:
        check_same(kept, now, "runs/a")
    assert error.value.message == (
        "the run in runs/a was begun under other conditions: threads per worker was 1, is 2; "
        "chips changed; gone was 1, is None"
    )
    assert "another run folder" in error.value.hint


def test_code_that_only_shows_does_not_count_and_all_other_code_does(tmp_path, monkeypatch):
    for room in ("cli", "report", "fleet", "repairs"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "a.py").write_text("a")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "fleet" / "fingerprint.py"))

    def after(room):
        (tmp_path / room / "a.py").write_text(room)
        return digest_of_code.__wrapped__()

    first = digest_of_code.__wrapped__()
    assert after("cli") == after("report") == first
    assert len({first, after("fleet"), after("repairs")}) == 3
    last = after("repairs")
    (tmp_path / "repairs" / "areas.json").write_text("{}")
    assert after("repairs") != last
