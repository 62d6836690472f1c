import pickle
import time

import numpy as np
import pytest
import torch
from torch import nn

from chipmend.errors import DataError
from chipmend.faults import FaultMap
from chipmend.hardware import Array, WeightMemory
from chipmend.network import Task
from chipmend.network.gemm import gemms
from chipmend.network.memory import footprint
from chipmend.network.sensitivity import sensitivities
from chipmend.repairs import Workbench, calibration
from chipmend.repairs.calibration import MATCHED_PLACES, Calibration
from chipmend.repairs.cost import Cost
from chipmend.seeds import chip_seed
from chipmend.steps import (
    LEAST_SAMPLES,
    Assess,
    ClosedForm,
    Compensate,
    Magnitude,
    Match,
    Measure,
    OneShot,
    Prune,
    Recalibrate,
    Reestimate,
    Remap,
    Retrain,
    Sequential,
)
from conftest import same, tiny_network, tiny_split

FORM = OneShot(samples=64, places=500)
SEQUENTIAL = Sequential(samples=32, places=100)


def kept(folder):
    return list(folder.glob("*.safetensors"))


def test_what_is_kept_comes_back_the_same_and_is_not_worked_out_again(task, tmp_path, monkeypatch):
    first, plain = Calibration(task, 0, folder=tmp_path), Calibration(task, 0)
    assert same(first.layers(FORM), plain.layers(FORM))
    assert same(first.targets(32, 100), plain.targets(32, 100))
    assert len(kept(tmp_path)) == 2
    later = Calibration(task, 0, folder=tmp_path)
    monkeypatch.setattr(later, "_clean_layers", None)
    monkeypatch.setattr(later, "_targets", None)
    assert same(later.layers(FORM), plain.layers(FORM))
    assert same(later.targets(32, 100), plain.targets(32, 100))


@pytest.mark.parametrize("other", ["seed", "form", "conditions", "task"])
def test_whatever_it_depends_on_has_a_file_of_its_own(task, tmp_path, other):
    Calibration(task, 0, folder=tmp_path).layers(FORM)
    changed = {
        "seed": lambda: Calibration(task, 1, folder=tmp_path).layers(FORM),
        "form": lambda: Calibration(task, 0, folder=tmp_path).layers(OneShot(samples=63)),
        "conditions": lambda: Calibration(task, 0, folder=tmp_path, conditions=2).layers(FORM),
        "task": lambda: Calibration(small_task(), 0, folder=tmp_path).layers(FORM),
    }
    changed[other]()
    assert len(kept(tmp_path)) == 2


def test_a_worker_s_copy_is_small_and_finds_what_is_kept(task, tmp_path, monkeypatch):
    known = Calibration(task, 0, folder=tmp_path, conditions="here")
    wanted = known.layers(OneShot()), known.targets(32, 100)
    given = len(pickle.dumps((task, 0, tmp_path)))
    assert len(pickle.dumps(known)) < given + 1000 < given + kept(tmp_path)[0].stat().st_size
    copy = pickle.loads(pickle.dumps(known))
    monkeypatch.setattr(copy, "_clean_layers", None)
    monkeypatch.setattr(copy, "_targets", None)
    assert same((copy.layers(OneShot()), copy.targets(32, 100)), wanted)


def test_a_copy_that_keeps_nothing_works_everything_out_again(task):
    known = Calibration(task, 0)
    assert same(pickle.loads(pickle.dumps(known)).layers(FORM), known.layers(FORM))


def small_task(inputs=None):
    train = tiny_split(40, 1)
    return Task(
        tiny_network(),
        train=train if inputs is None else (inputs, train[1]),
        validation=tiny_split(10, 2),
        test=tiny_split(10, 3),
    )


def test_inputs_that_are_not_finite_are_refused():
    broken = tiny_split(40, 1)[0]
    broken[7, 0, 2, 2] = torch.nan
    with pytest.raises(DataError, match="calibration inputs that are not finite"):
        Calibration(small_task(broken), 0).inputs(40)


def test_fewer_inputs_than_asked_for_are_all_of_them():
    assert len(Calibration(small_task(), 0).inputs(2048)) == 40


def test_no_more_inputs_go_through_at_once_than_there_is_room_for(task, monkeypatch, caplog):
    known = Calibration(task, 0)
    assert len(known.inputs_at_once(50)) == 50
    largest = footprint(task.model, known.inputs(4)).largest
    monkeypatch.setattr(calibration, "ROOM", calibration.LIVE * largest * 30)
    assert len(known.inputs_at_once(50)) == 30
    assert len(known.inputs_at_once(20)) == 20
    assert len(known.targets(50, 100).parts) == len(gemms(task.model))
    assert "30 calibration inputs, not 50" in caplog.text
    monkeypatch.setattr(calibration, "ROOM", 1)
    assert len(known.inputs_at_once(50)) == LEAST_SAMPLES


def test_smaller_batches_tell_the_same_of_a_network(task, monkeypatch):
    wanted = Calibration(task, 0).layers(OneShot(samples=64, places=10**6))
    monkeypatch.setattr(calibration, "LARGEST_BATCH", 7)
    found = Calibration(task, 0).layers(OneShot(samples=64, places=10**6))
    for name, layer in found.items():
        torch.testing.assert_close(layer.known.matrix, wanted[name].known.matrix)


def test_the_time_that_shared_knowledge_takes_is_not_the_first_chip_s(task, monkeypatch):
    """By a clock that stands still but for shared work."""
    now = [0.0]

    def lasting(work):
        def slow(*args):
            now[0] += 100
            return work(*args)

        return slow

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(Calibration, "_clean_layers", lasting(Calibration._clean_layers))
    monkeypatch.setattr(Calibration, "_targets", lasting(Calibration._targets))
    broken = np.eye(4, 3) > 0
    bench = Workbench(task, Array(rows=4, cols=3), FaultMap.of_pes(broken), chip="a", seed=0)
    steps = [
        (Prune(), Compensate(form=FORM)),
        (Prune(), Compensate(form=SEQUENTIAL)),
        (Prune(), Recalibrate(form=Match(samples=20))),
        (Prune(), Assess(moments=OneShot(samples=40, places=60))),
        (Remap(saliency=ClosedForm(moments=OneShot(samples=50, places=60))), Prune()),
    ]
    for recipe in steps:
        for length in range(1, len(recipe) + 1):
            bench.carry_out(recipe[:length])
        assert bench.spent(recipe).seconds == 0
        assert bench.calibration.bill(recipe).seconds == 100


def test_saliencies_are_of_the_weights_shapes_and_are_those_of_the_definition(task):
    known = Calibration(task, 0)
    magnitude, exact = known.saliency(Magnitude()), known.saliency(ClosedForm(moments=FORM))
    for gemm in gemms(task.model):
        assert magnitude[gemm.name].equal(gemm.weight.detach().abs())
        assert exact[gemm.name].shape == gemm.weight.shape
        layer = known.layers(FORM)[gemm.name]
        weight = gemm.weight.detach().flatten(1).double()
        moments = layer.known.matrix.double()
        inverse = torch.linalg.inv(moments)[0].diagonal()
        wanted = weight.square() / (2 * inverse) * layer.stake[:, None].double()
        torch.testing.assert_close(
            exact[gemm.name].flatten(1).double(), wanted, rtol=1e-3, atol=1e-9
        )


def test_stakes_are_the_sensitivities_on_the_calibration_inputs(task):
    known = Calibration(task, 0)
    found = sensitivities(task.model, [known.inputs(64)], seed=chip_seed(0, "", "signs"))
    for name, layer in known.layers(FORM).items():
        torch.testing.assert_close(layer.stake, found[name].outputs)


def test_rows_that_the_outputs_hang_on_are_targets_more_often(task):
    known = Calibration(task, 0)
    found = sensitivities(task.model, [known.inputs(64)], seed=chip_seed(0, "", "signs"))
    rows = found["0.weight"].rows
    chosen = known.targets(64, 300).parts["0.weight", 0].places
    assert rows[chosen].mean() > 1.3 * rows.mean()


def test_unlike_inputs_are_told_of(task, caplog):
    Calibration(task, 0).targets(64, 100)
    assert "unlike" not in caplog.text
    noise = 3 * torch.rand(64, 1, 6, 6)
    splits = {"train": task.train, "validation": task.validation, "test": task.test}
    Calibration(Task(task.model, **splits, calibration=noise), 0).targets(64, 100)
    assert "unlike those that the network's norms were trained on" in caplog.text


def test_algebra_is_billed_by_multiply_adds(task):
    # a forward pass over the training split is a third of an epoch
    per_sample = 36 * 8 * 9 + 4 * 8 * 72 + 32 * 3
    whole = per_sample * len(task.train)
    assert Calibration(task, 0).algebra(whole) == pytest.approx(1 / 3)


def test_what_steps_go_by_is_billed_once_however_many_of_them_there_are(task):
    known = Calibration(task, 0)
    alone, together = known.bill([Compensate(form=FORM)]), known.bill([Compensate(form=SEQUENTIAL)])
    matched = known.bill([Recalibrate(form=Match(samples=32))])
    assert min(alone.algebra, alone.recalibrate, together.recalibrate, matched.recalibrate) > 0
    assert min(each.seconds for each in (alone, together, matched)) > 0
    by_moments = [Assess(moments=FORM), Remap(saliency=ClosedForm(moments=FORM)), Prune()]
    assert known.bill(by_moments) == known.bill([*by_moments, Compensate(form=FORM)]) == alone
    some = [Compensate(form=SEQUENTIAL), *by_moments, Compensate(form=SEQUENTIAL)]
    assert known.bill(some).ee == pytest.approx(alone.ee + together.ee)
    assert known.bill(some).seconds == pytest.approx(alone.seconds + together.seconds)
    alike = Compensate(form=Sequential(samples=32, places=MATCHED_PLACES))
    assert known.bill([alike, Recalibrate(form=Match(samples=32))]) == matched


def test_other_steps_go_by_nothing_that_is_shared(task):
    steps = [
        Prune(),
        Remap(saliency=Magnitude()),
        Recalibrate(form=Reestimate()),
        Retrain(),
        Measure(),
    ]
    assert Calibration(task, 0).bill(steps) == Cost()


def test_the_bill_stays_the_same_whoever_worked_it_out(task, tmp_path, monkeypatch):
    steps = [Compensate(form=FORM), Compensate(form=SEQUENTIAL)]
    wanted = Calibration(task, 0, folder=tmp_path).bill(steps)
    later = Calibration(task, 0, folder=tmp_path)
    monkeypatch.setattr(later, "_clean_layers", None)
    monkeypatch.setattr(later, "_targets", None)
    assert later.bill(steps) == wanted
    alone = Calibration(task, 0).bill(steps)
    assert (alone.recalibrate, alone.algebra) == (wanted.recalibrate, wanted.algebra)


def test_a_layer_that_no_input_reaches_loses_nothing():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x):
            return self.used(x)

    data = torch.randn(20, 4), torch.zeros(20, dtype=torch.long)
    idle = Task(Idle(), train=data, validation=data, test=data)
    found = Calibration(idle, 0).saliency(ClosedForm())
    assert found["idle.weight"].count_nonzero() == 0
    assert found["used.weight"].count_nonzero() == 12


def test_a_memory_that_is_too_small_is_told_once(task, caplog):
    known = Calibration(task)
    for words, said in ((None, []), (700, ["filled several"]), (50, ["also within one layer"])):
        caplog.clear()
        for _ in range(2):
            known.filled(WeightMemory(words=words))
        assert len(caplog.records) == len(said)
        assert all(part in caplog.text for part in said)
