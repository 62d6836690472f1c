"""Training with codes: what goes forward can be read, what is behind it is trained."""

import numpy as np
import pytest
import torch

from chipmend.hardware import WeightMemory
from chipmend.network import gemms
from chipmend.network.integer.codes import Codes
from chipmend.repairs.chip import repair
from chipmend.repairs.coding import Coding
from chipmend.repairs.retrain import Retraining
from chipmend.repairs.words import HitWords, Words
from chipmend.repairs.workbench import Workbench
from chipmend.steps import FAQ, Naive, Prune, Quantize, Reestimate, Retrain
from conftest import state, tiny_network, tiny_task
from repairs.faulty_memory import ARRAY, chip, readable_by

SETTINGS = Retrain(epochs=2, batch=32, learning_rate=0.05, recalibrate=Reestimate(samples=64))


def coding_of(model, memory):
    """Sound words, and steps of their own."""
    found = {g.name: Codes.nearest(g.weight.flatten(1), memory.highest) for g in gemms(model)}
    words = {
        g.name: Words(
            memory, HitWords.none(), torch.zeros(g.weight.flatten(1).shape, dtype=torch.bool)
        )
        for g in gemms(model)
    }
    return Coding(words, found)


def test_gradients_are_those_of_the_rounded_network_and_weights_are_as_before():
    model, rounded, inputs = tiny_network(), tiny_network(), torch.randn(8, 1, 6, 6)
    coding = coding_of(model, WeightMemory(bits=3))
    coding.round_(rounded)
    before = state(model)
    with coding.straight_through(model):
        model(inputs).square().sum().backward()
    rounded(inputs).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert torch.equal(parameter.grad, rounded.get_parameter(name).grad)
    assert not torch.equal(rounded[0].weight, model[0].weight)


def test_codes_of_a_rounded_network_stand_for_its_weights():
    model = tiny_network()
    coding = coding_of(model, WeightMemory(bits=4))
    coding.round_(model)
    for name, codes in coding.codes_of(model).items():
        assert torch.equal(codes.weight(), model.get_parameter(name))
        assert torch.equal(codes.numbers, codes.numbers.round())


def test_small_changes_add_up_behind_the_codes():
    """A step of few bits is far above what one update changes."""
    task, model = tiny_task(), tiny_network()
    coding = coding_of(model, WeightMemory(bits=3))
    training = Retraining(
        model, {}, task.train, loss=task.loss, settings=SETTINGS, seed=0, coding=coding
    )
    first = training.network()
    training.advance(2)
    last = training.network()
    changed = (first[6].weight != last[6].weight).float().mean()
    assert 0 < changed < 1
    numbers = last[6].weight / coding.codes["6.weight"].step[:, None].float()
    torch.testing.assert_close(numbers, numbers.round())


@pytest.mark.parametrize("epochs", [0.5, 2])
def test_a_chip_retrained_with_codes_can_read_what_it_ships(task, epochs):
    given = chip(task, share=0.15)
    bench = Workbench(task, ARRAY, given.faults, chip="a", seed=0)
    start = (Prune(), Quantize(form=FAQ(), samples=64))
    recipe = (*start, Retrain(epochs=epochs, batch=32, recalibrate=Reestimate(samples=64)))
    for length in (1, 2, 3):
        bench.carry_out(recipe[:length])

    class One:
        codes = bench.codes(recipe)

    inputs = task.train.batch(torch.arange(4))[0]
    for name, good in readable_by(One, task.model, ARRAY.memory, inputs, given.faults.stuck):
        assert good.all()
        weight = bench.network(recipe).get_parameter(name)
        assert torch.equal(One.codes[name].weight(), weight)
    assert bench.spent(recipe).retrain == pytest.approx(epochs)


def test_retraining_with_codes_brings_back_what_stuck_bits_took(task):
    given = chip(task, share=0.25, broken=0)
    bench = Workbench(task, ARRAY, given.faults, chip="a", seed=0)
    start = (Prune(), Quantize(form=FAQ(), samples=64))
    retrained = (*start, SETTINGS)
    before = bench.validation(start).mean()
    assert bench.validation(retrained).mean() > before + 0.03
    again = Workbench(task, ARRAY, given.faults, chip="a", seed=0)
    longer = (
        *start,
        Retrain(epochs=1, batch=32, learning_rate=0.05, recalibrate=Reestimate(samples=64)),
    )
    again.validation(longer)
    assert np.array_equal(again.validation(retrained), bench.validation(retrained))


def test_codes_that_were_chosen_unaware_of_faults_are_trained_so():
    task = tiny_task()
    given, settings = chip(task, share=0.05, broken=0), [Prune(), Quantize(form=Naive()), SETTINGS]
    before, after = (repair(task, given, array=ARRAY, steps=settings[:count]) for count in (2, 3))
    words = Workbench(task, ARRAY, given.faults, chip="a", seed=0)._words((Prune(),))
    for name, codes in after.codes.items():
        hit = words[name].patterns > 0
        numbers = codes.numbers.flatten(1)
        # what was read, stored once more, is read again
        assert torch.equal(words[name].unaware(numbers.clone())[hit], numbers[hit])
        assert not torch.equal(numbers, before.codes[name].numbers.flatten(1))
    aware = repair(task, given, array=ARRAY, steps=[Prune(), Quantize(form=FAQ()), SETTINGS])
    assert any(not torch.equal(c.numbers, aware.codes[n].numbers) for n, c in after.codes.items())
