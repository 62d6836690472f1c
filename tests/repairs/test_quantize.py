"""Codes for one chip: every number can be read by its word, and what compensation gains."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from chipmend.errors import FaultMapError, NetworkError, PlanError
from chipmend.faults import Chip, FaultMap
from chipmend.hardware import Array, WeightMemory
from chipmend.network import accuracy, gemms, scores
from chipmend.network.coupling import couplings, permute_
from chipmend.network.task import Task
from chipmend.repairs import pruned_weights
from chipmend.repairs.calibration import Calibration
from chipmend.repairs.chip import repair
from chipmend.repairs.cost import forward_pass
from chipmend.steps import (
    FAQ,
    Compensate,
    CompensatedFAQ,
    Naive,
    OneShot,
    Percentile,
    Prune,
    Quantize,
    Recalibrate,
    Remap,
    Retrain,
    SequentialFAQ,
)
from chipmend.steps.quantize import STEPS_TRIED
from repairs.faulty_memory import ARRAY, chip, readable_by, words_of_a_weight

MOMENTS = OneShot(samples=128, places=1024)
FORMS = {
    "naive": Naive(),
    "faq": FAQ(),
    "faq, best of steps": FAQ(steps_tried=(1.0, 0.9), turned=True),
    "compensated": CompensatedFAQ(moments=MOMENTS),
    "faulty first": CompensatedFAQ(moments=MOMENTS, faulty_first=True, turned=True),
    "sequential": SequentialFAQ(samples=128, places=1024),
    "sequential, faulty first": SequentialFAQ(samples=128, places=1024, faulty_first=True),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_word_can_read_its_number_and_lost_weights_are_zero(task, name):
    given = chip(task)
    one = repair(task, given, array=ARRAY, steps=[Prune(), Quantize(form=FORMS[name], samples=64)])
    inputs = task.train.batch(torch.arange(4))[0]
    for _, good in readable_by(one, task.model, ARRAY.memory, inputs, given.faults.stuck):
        assert good.all()
    for name, lost in pruned_weights(task.model, given.faults.unusable, ARRAY).items():
        assert not one.codes[name].numbers[lost].any()


def test_under_a_mapping_words_are_those_of_the_network_as_it_is_stored(task):
    given, steps = chip(task), [Remap(), Prune(), Quantize(form=FAQ(), samples=64)]
    one = repair(task, given, array=ARRAY, steps=steps)
    assert any((position != np.arange(len(position))).any() for position in one.positions)
    inputs = task.train.batch(torch.arange(4))[0]
    stored = copy.deepcopy(task.model)
    for gemm in gemms(stored):
        gemm.weight.data.copy_(one.codes[gemm.name].numbers)
    for coupling, position in zip(couplings(task.model, inputs), one.positions, strict=True):
        permute_(stored, coupling, position)
    one.codes.update(
        {g.name: type(one.codes[g.name])(g.weight.detach(), None) for g in gemms(stored)}
    )
    for _, good in readable_by(one, task.model, ARRAY.memory, inputs, given.faults.stuck):
        assert good.all()


def test_what_ships_is_the_network_of_integers_and_it_is_measured(task):
    one = repair(task, chip(task), array=ARRAY, steps=[Prune(), Quantize(samples=64)])
    assert one.validation_accuracy == scores(one.model, task.validation, accuracy).mean()
    numbers = dict(zip(one.codes, one.model.numbers, strict=True))
    assert all(torch.equal(numbers[name], codes.numbers) for name, codes in one.codes.items())


def test_a_sound_memory_reads_what_is_stored(task):
    sound = Chip(id="a", faults=FaultMap(rows=6, cols=5, faulty_pes=np.zeros((6, 5), bool)))
    naive, faq = (
        repair(task, sound, array=ARRAY, steps=[Prune(), Quantize(form=form, samples=64)])
        for form in (Naive(), FAQ())
    )
    for name, codes in naive.codes.items():
        assert torch.equal(codes.numbers, faq.codes[name].numbers)
        weight = dict(task.model.named_parameters())[name]
        assert ((codes.weight() - weight).abs().flatten(1) <= 0.5001 * codes.step[:, None]).all()
    clean = scores(task.model, task.validation, accuracy).mean()
    assert naive.validation_accuracy >= clean - 0.02


def test_aware_beats_naive_and_compensation_beats_both(task):
    given = chip(task, share=0.12, broken=0)
    known = Calibration(task)
    outputs = {}
    inputs = task.validation.batch(torch.arange(128))[0]
    with torch.no_grad():
        clean = task.model(inputs)
        for name, form in FORMS.items():
            steps = [Prune(), Quantize(form=form, samples=64)]
            one = repair(task, given, array=ARRAY, steps=steps, calibration=known)
            outputs[name] = float((one.model(inputs) - clean).square().mean())
    assert outputs["faq"] < 0.5 * outputs["naive"]
    assert outputs["compensated"] < 0.7 * outputs["faq"]
    assert outputs["faulty first"] < 0.7 * outputs["faq"]
    assert outputs["sequential"] < 0.7 * outputs["faq"]


def test_lost_weights_are_made_up_for_in_the_same_solve(task):
    given = chip(task, share=0.02, broken=0.3)
    known, inputs = Calibration(task), task.validation.batch(torch.arange(128))[0]
    recipes = {
        "pruned": [Prune(), Quantize(form=FAQ(), samples=64)],
        "together": [Prune(), Quantize(form=CompensatedFAQ(moments=MOMENTS), samples=64)],
        "in stream": [Prune(), Quantize(form=FORMS["sequential"], samples=64)],
    }
    with torch.no_grad():
        clean = task.model(inputs)
        apart = {
            name: float(
                (
                    repair(task, given, array=ARRAY, steps=steps, calibration=known).model(inputs)
                    - clean
                )
                .square()
                .mean()
            )
            for name, steps in recipes.items()
        }
    assert apart["together"] < 0.6 * apart["pruned"]
    assert apart["in stream"] < 0.7 * apart["pruned"]


@pytest.mark.parametrize("name", ["compensated", "faulty first"])
def test_what_rounding_does_to_the_mean_of_outputs_the_bias_takes_back(task, name):
    known = Calibration(task)
    steps = [Prune(), Quantize(form=FORMS[name], samples=64)]
    one = repair(task, chip(task, share=0.12), array=ARRAY, steps=steps, calibration=known)
    (last,) = (g.name for g in gemms(task.model) if "6" in g.name)
    layer, bias = known.layers(MOMENTS)[last], last.replace("weight", "bias")
    before = layer.mean_outputs(layer.weight) + task.model.state_dict()[bias]
    after = layer.mean_outputs(one.codes[last].weight()) + one.model.held[bias]
    assert torch.allclose(after, before, atol=1e-4)
    unshifted = layer.mean_outputs(one.codes[last].weight()) + task.model.state_dict()[bias]
    assert not torch.allclose(unshifted, before, atol=1e-2)


def test_sequential_codes_begin_anew_from_the_clean_weights(task):
    given, form = chip(task, share=0.1), FORMS["sequential"]
    last = Quantize(form=form, samples=64)
    steps = [Prune(), last], [Prune(), Compensate(form=MOMENTS), Recalibrate(), last]
    one, two = (repair(task, given, array=ARRAY, steps=s) for s in steps)
    assert all(torch.equal(c.numbers, two.codes[n].numbers) for n, c in one.codes.items())
    with pytest.raises(PlanError, match="quantize after retraining would undo it"):
        repair(task, given, array=ARRAY, steps=[Prune(), Retrain(), last])


def test_sequential_codes_of_a_layer_that_no_input_reaches_are_the_nearest(task):
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = copy.deepcopy(task.model), nn.Linear(4, 3)

        def forward(self, x):
            return self.used(x)

    splits = task.train, task.validation, task.test
    idle = Task(Idle(), **dict(zip(("train", "validation", "test"), splits, strict=True)))
    given = chip(idle, share=0.1, broken=0)
    one, faq = (
        repair(idle, given, array=ARRAY, steps=[Prune(), Quantize(form=form, samples=64)])
        for form in (FORMS["sequential"], FAQ(steps_tried=STEPS_TRIED, turned=True))
    )
    assert torch.equal(one.codes["idle.weight"].numbers, faq.codes["idle.weight"].numbers)
    name = next(name for name in one.codes if name.startswith("used"))
    assert not torch.equal(one.codes[name].numbers, faq.codes[name].numbers)


def test_the_words_of_some_outputs_are_those_of_the_whole_weight():
    words, *_ = words_of_a_weight(WeightMemory())
    some, wanted = words.of_outputs(slice(2, 5)), 40 * torch.randn(6, 40)
    assert torch.equal(some.nearest(wanted[2:5].clone()), words.nearest(wanted)[2:5])
    assert torch.equal(some.patterns, words.patterns[2:5])


@pytest.mark.parametrize(
    "memory",
    [WeightMemory(words=100), WeightMemory(bits=5), WeightMemory(coding="sign_magnitude")],
    ids=["wraps", "5 bits", "sign and magnitude"],
)
def test_any_memory(task, memory):
    array = Array(rows=6, cols=5, memory=memory)
    given = chip(task, words=memory.words, bits=memory.bits)
    one = repair(task, given, array=array, steps=[Prune(), Quantize(samples=64)])
    inputs = task.train.batch(torch.arange(4))[0]
    for _, good in readable_by(one, task.model, memory, inputs, given.faults.stuck):
        assert good.all()


def test_norms_may_be_corrected_before_they_are_folded(task):
    given = chip(task, share=0.1)
    plain = [Prune(), Quantize(form=FAQ(), samples=64)]
    one, two = (repair(task, given, array=ARRAY, steps=s) for s in (plain, [*plain, Recalibrate()]))
    assert all(torch.equal(c.numbers, two.codes[n].numbers) for n, c in one.codes.items())
    inputs = task.validation.batch(torch.arange(64))[0]
    assert not torch.equal(one.model(inputs), two.model(inputs))


def test_what_was_repaired_before_is_what_is_rounded(task):
    given = chip(task, share=0, broken=0.3)
    steps = [Prune(), Compensate(form=MOMENTS)]
    repaired = repair(task, given, array=ARRAY, steps=steps)
    one = repair(task, given, array=ARRAY, steps=[*steps, Quantize(form=FAQ(), samples=64)])
    for name, codes in one.codes.items():
        weight = repaired.model.state_dict()[name]
        assert ((codes.weight() - weight).abs().flatten(1) <= 0.5001 * codes.step[:, None]).all()


def test_rounding_costs_nothing_and_compensation_its_multiply_adds(task):
    steps = {form: [Prune(), Quantize(form=FORMS[form], samples=64)] for form in FORMS}
    known = Calibration(task)
    spent = {
        form: repair(task, chip(task), array=ARRAY, steps=s, calibration=known)
        for form, s in steps.items()
    }
    looks = forward_pass(128, task)
    assert spent["faq"].cost.ee == spent["naive"].cost.ee == pytest.approx(looks)
    assert spent["faulty first"].cost.algebra > spent["compensated"].cost.algebra > 0
    assert spent["faq"].shared.recalibrate == pytest.approx(forward_pass(64, task))


def test_a_chip_with_stuck_bits_needs_codes(task):
    with pytest.raises(FaultMapError, match="stuck"):
        repair(task, chip(task), array=ARRAY, steps=[Prune(), Recalibrate()])


def test_stuck_bits_of_a_memory_of_another_size_are_refused(task):
    with pytest.raises(FaultMapError, match="10 words"):
        repair(task, chip(task, words=10), array=ARRAY, steps=[Prune(), Quantize(samples=64)])


def test_operators_that_are_not_known_are_refused_or_left_in_float(task):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Threshold(0, 0), nn.Linear(8, 3))
    odd = Task(model, train=task.train, validation=task.validation, test=task.test)
    given = chip(odd)
    with pytest.raises(NetworkError, match=r"threshold\.default in 2"):
        repair(odd, given, array=ARRAY, steps=[Prune(), Quantize(samples=64)])
    steps = [Prune(), Quantize(samples=64, unknown="float", activations=Percentile(share=0.999))]
    assert repair(odd, given, array=ARRAY, steps=steps).codes is not None
