import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

import chipmend as cm
from chipmend.errors import FaultMapError, LotError, PlanError, RepairError
from chipmend.faults import Chip, FaultMap, Lot, StuckBits
from chipmend.hardware import Array
from chipmend.network import accuracy, scores
from chipmend.network.coupling import couplings
from chipmend.network.gemm import gemms
from chipmend.repairs import Workbench, pruned_weights
from chipmend.repairs.calibration import Calibration
from chipmend.repairs.chip import repair
from chipmend.steps import (
    Compensate,
    Measure,
    OneShot,
    Prune,
    Recalibrate,
    Reestimate,
    Remap,
    Retrain,
    Sequential,
)
from conftest import same, state, tiny_task

ARRAY = Array(rows=6, cols=5)
SHORT = Retrain(epochs=0.5, batch=32, recalibrate=Reestimate(samples=64))


def chip(rows=6, cols=5):
    broken = np.random.default_rng(0).random((rows, cols)) < 0.3
    return Chip(id="a", faults=FaultMap(rows=rows, cols=cols, faulty_pes=broken))


def test_a_repaired_network_fits_its_chip_and_is_measured_and_billed(task):
    one = repair(task, chip(), array=ARRAY, steps=[Prune(), SHORT])
    zeros = pruned_weights(task.model, chip().faults.unusable, ARRAY)
    assert all((one.model.state_dict()[name][zero] == 0).all() for name, zero in zeros.items())
    assert one.validation_accuracy == scores(one.model, task.validation, accuracy).mean()
    assert one.cost.ee == pytest.approx(0.5 + 64 / (3 * 256) + 128 / (3 * 256))


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_looks_on_the_way_change_the_bill_and_nothing_else(task, looks):
    plain = repair(task, chip(), array=ARRAY, steps=[Prune(), SHORT])
    looked = repair(task, chip(), array=ARRAY, steps=[Prune(), *[Measure()] * looks, SHORT])
    for name, value in looked.model.state_dict().items():
        assert value.equal(plain.model.state_dict()[name])
    assert looked.cost.ee - plain.cost.ee == pytest.approx((looks > 0) * 128 / (3 * 256))


def test_the_clean_network_is_not_touched_and_the_repaired_one_is_the_caller_s(task):
    before = copy.deepcopy(task.model.state_dict())
    one = repair(task, chip(), array=ARRAY)
    with torch.no_grad():
        one.model[0].weight.fill_(3)
    again = repair(task, chip(), array=ARRAY)
    assert again.validation_accuracy == one.validation_accuracy
    assert not again.model[0].weight.equal(one.model[0].weight)
    assert all(value.equal(before[name]) for name, value in task.model.state_dict().items())


def test_a_chip_of_another_array_is_refused(task):
    with pytest.raises(FaultMapError):
        repair(task, chip(5, 6), array=ARRAY)


def test_a_chip_with_stuck_bits_is_refused_rather_than_repaired_in_part(task):
    stuck = StuckBits.of_bits(64, 8, [3], [7], [True])
    broken = replace(chip(), faults=replace(chip().faults, stuck=stuck))
    with pytest.raises(FaultMapError, match="1 bits of the weight memory of chip"):
        repair(task, broken, array=ARRAY)


@pytest.mark.parametrize("steps", [[], [Recalibrate()], [Prune(), Retrain], ["prune"]])
def test_steps_that_would_ship_a_faulty_network_are_refused(task, steps):
    with pytest.raises(PlanError, match="the recipe"):
        repair(task, chip(), array=ARRAY, steps=steps)


def test_a_chip_with_a_fatal_fault_is_refused_with_its_reason(task):
    dead = Chip(
        "dead", FaultMap(rows=6, cols=5, faulty_pes=np.zeros((6, 5), bool), fatal="no clock")
    )
    with pytest.raises(RepairError, match="chip dead cannot be repaired: no clock"):
        repair(task, dead, array=ARRAY)


def test_a_single_step_or_a_whole_lot_is_told_from_what_is_wanted(task):
    with pytest.raises(PlanError, match="the recipe is a single prune"):
        repair(task, chip(), array=ARRAY, steps=Prune())
    with pytest.raises(LotError, match=r"Lot\(.*\) is no chip"):
        repair(task, Lot.of([chip()]), array=ARRAY)


@pytest.mark.parametrize("form", [OneShot(samples=64), Sequential(samples=64)])
@pytest.mark.parametrize(
    "lines", [{"dead_cols": (2,)}, {"dead_rows": ((1, 0),)}, {"dead_cols": (0, 3)}]
)
def test_a_chip_with_whole_lines_faulty_is_repaired_like_any_other(task, form, lines):
    healthy = np.zeros((6, 5), bool)
    dead = Chip("a", FaultMap(rows=6, cols=5, faulty_pes=healthy, **lines))
    steps = [Remap(), Prune(), Compensate(form=form)]
    one = repair(task, dead, array=ARRAY, steps=steps)
    pruned = repair(task, dead, array=ARRAY, steps=[Prune()])
    assert one.validation_accuracy >= pruned.validation_accuracy
    assert all(torch.isfinite(value).all() for value in one.model.state_dict().values())


def test_permutations_are_told_and_what_is_shared_has_a_bill(task):
    form = OneShot(samples=64)
    steps = [Remap(), Prune(), Compensate(form=form)]
    one = repair(task, chip(), array=ARRAY, steps=steps)
    found = couplings(task.model, task.train.batch(torch.arange(4))[0])
    assert [sorted(p) for p in one.positions] == [list(range(len(c.block))) for c in found]
    assert one.shared.ee > 0
    plain = repair(task, chip(), array=ARRAY, steps=[Prune()])
    assert plain.positions is None
    assert plain.shared.ee == 0


def test_a_calibration_that_is_given_is_worked_out_once_for_all_chips(task, monkeypatch):
    steps, known = [Prune(), Compensate(form=OneShot(samples=64))], Calibration(task)
    alone = repair(task, chip(), array=ARRAY, steps=steps)
    first = repair(task, chip(), array=ARRAY, steps=steps, calibration=known)
    monkeypatch.setattr(known, "_clean_layers", None)
    second = repair(task, chip(), array=ARRAY, steps=steps, calibration=known)
    assert same(state(alone.model), state(first.model))
    assert same(state(first.model), state(second.model))
    assert alone.shared.ee == first.shared.ee == second.shared.ee
    with pytest.raises(PlanError, match="calibration is of another task"):
        repair(tiny_task(), chip(), array=ARRAY, steps=steps, calibration=known)


LIVE = cm.StuckMacs.of([(0, 1, "accumulator", 14, 1), (3, 2, "product", 13, 1)])


def with_live_faults(array, *, bypassed=False):
    pes = np.zeros((array.rows, array.cols), dtype=bool)
    if bypassed:
        pes[[0, 3], [1, 2]] = True
    return cm.Chip("live", cm.FaultMap.of_pes(pes, macs=LIVE))


def test_what_nothing_bypasses_is_looked_at_live():
    task, array = tiny_task(), cm.Array(rows=6, cols=5)
    steps = [cm.Prune(), cm.Quantize(samples=64)]
    live, bypassed = (
        cm.repair(task, with_live_faults(array, bypassed=b), array=array, steps=steps)
        for b in (False, True)
    )
    sound = float(scores(live.model, task.validation, accuracy).mean())
    assert live.validation_accuracy < sound - 0.1
    assert bypassed.validation_accuracy == scores(bypassed.model, task.validation, accuracy).mean()


def test_live_faults_need_codes():
    task, array = tiny_task(), cm.Array(rows=6, cols=5)
    with pytest.raises(FaultMapError, match=r"2 bits of datapaths .* of chip live"):
        cm.repair(task, with_live_faults(array), array=array)
    cm.repair(task, with_live_faults(array, bypassed=True), array=array)


def test_what_the_chip_computes_is_what_ships_bit_by_bit_where_nothing_is_live():
    task, array = tiny_task(), cm.Array(rows=6, cols=5)
    made = cm.make_chips(
        replace(
            array,
            memory=cm.WeightMemory(words=sum(gemm.weight.numel() for gemm in gemms(task.model))),
        ),
        rate=0.2,
        count=1,
        stuck=cm.StuckAt(rate=0.05),
    )[0]
    recipe = (cm.Remap(), cm.Prune(), cm.Quantize(form=cm.FAQ(), samples=64))
    bench = Workbench(task, array, made.faults, chip="a", seed=0)
    for length in (1, 2, 3):
        bench.carry_out(recipe[:length])
    inputs = task.validation.batch(torch.arange(50))[0]
    shipped, on_chip = bench.ships(recipe), bench._shipped(recipe)
    assert bench._moved(recipe) is not None
    assert torch.equal(shipped(inputs), on_chip(inputs))
