"""What compensation and the choice of steps gain over the nearest numbers."""

import pytest
import torch

from chipmend.hardware import WeightMemory
from chipmend.network.integer.codes import plain_steps
from chipmend.repairs.closed_form import Inputs, Moments
from chipmend.repairs.gptq import factor_of
from chipmend.repairs.rounding import best_steps, rounded_with_compensation
from repairs.faulty_memory import words_of_a_weight


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def moments(k):
    """Of inputs that depend on each other."""
    rows = torch.randn(3 * k, k // 2, generator=seeded(2))
    rows = rows @ torch.randn(k // 2, k, generator=seeded(3))
    h = rows.mT @ rows / len(rows)
    return Moments((h + 0.01 * h.diagonal().mean() * torch.eye(k))[None], torch.zeros(1))


def loss_of(weights, optimum, h):
    apart = (weights - optimum).double()
    return float(((apart @ h.double()) * apart).sum())


@pytest.mark.parametrize("seed", range(3))
def test_compensation_loses_less_than_the_nearest_and_least_with_faulty_words_first(seed):
    memory = WeightMemory()
    words, _, _ = words_of_a_weight(memory, n=8, k=60, share=0.2, seed=seed)
    optimum = torch.randn(8, 60, generator=seeded(seed))
    known = moments(60).with_inverse()
    step, factor = plain_steps(optimum, memory.highest), factor_of(known.inverse)
    along = step[:, None].float()
    nearest = words.nearest(optimum / along) * along
    (in_turn, *told), (first, *told_first) = (
        rounded_with_compensation(optimum, words, step, known, factor, faulty_first=faults, hold=0)
        for faults in (False, True)
    )
    for codes, (loss, _) in ((in_turn, told), (first, told_first)):
        assert float(2 * loss.sum()) == pytest.approx(
            loss_of(codes.weight(), optimum, known.matrix[0]), rel=1e-3
        )
        assert torch.equal(codes.numbers, words.nearest(codes.numbers)), "they can be read"
    h = known.matrix[0]
    by_turns, by_faults = (loss_of(codes.weight(), optimum, h) for codes in (in_turn, first))
    assert by_faults < by_turns < 0.6 * loss_of(nearest, optimum, h)


def test_what_is_held_differs_less_from_the_nearest_codes_and_makes_up_for_less():
    memory = WeightMemory()
    words, _, _ = words_of_a_weight(memory, n=8, k=60, share=0.2)
    optimum = torch.randn(8, 60, generator=seeded())
    known = moments(60).with_inverse()
    step, factor = plain_steps(optimum, memory.highest), factor_of(known.inverse)
    nearest = words.nearest(optimum / step[:, None].float())
    changed, losses = [], []
    for hold in (0, 2, 8, 1000):
        codes, loss, _ = rounded_with_compensation(
            optimum, words, step, known, factor, faulty_first=False, hold=hold
        )
        found = loss_of(codes.weight(), optimum, known.matrix[0])
        assert float(2 * loss.sum()) == pytest.approx(found, rel=1e-3), "what is held is billed"
        changed.append(int((codes.numbers != nearest).sum()))
        losses.append(found)
    assert changed[0] > changed[1] > changed[2] > changed[3] == 0
    assert max(losses[:3]) < 0.8 * losses[3]


def test_inputs_too_many_for_a_factor_make_up_for_faulty_words_alone():
    memory, k = WeightMemory(), 200
    words, _, _ = words_of_a_weight(memory, n=4, k=k, share=0.2)
    optimum = torch.randn(4, k, generator=seeded())
    known = Inputs.of(torch.randn(50, k, generator=seeded(4)), 0.01)
    step = plain_steps(optimum, memory.highest)
    codes, _, _ = rounded_with_compensation(
        optimum, words, step, known, None, faulty_first=False, hold=0
    )
    assert torch.equal(codes.numbers, words.nearest(codes.numbers))
    h = known.rows.mT @ known.rows + known.damping * torch.eye(k)
    along = step[:, None].float()
    nearest = words.nearest(optimum / along) * along
    assert loss_of(codes.weight(), optimum, h) < 0.5 * loss_of(nearest, optimum, h)


def test_best_steps_err_least_of_those_tried():
    memory = WeightMemory()
    words, _, _ = words_of_a_weight(memory, n=20, k=30, share=0.4)
    weight = torch.randn(20, 30, generator=seeded())
    importance = torch.rand(20, 30, generator=seeded(5))
    plain, shares = plain_steps(weight, memory.highest), (1.0, 0.9, 0.8)
    found = best_steps(weight, words, importance, shares=shares, turned=True)

    def error(step):
        along = step[:, None].float()
        return ((words.nearest(weight / along) * along - weight).square() * importance).sum(1)

    every = torch.stack([error(s * share * plain) for s in (1, -1) for share in shares])
    torch.testing.assert_close(error(found), every.min(0).values)
    assert (found < 0).any()
    assert (found > 0).any()
    kept = best_steps(weight, words, importance, shares=(1.0,), turned=False)
    assert torch.equal(kept, plain)
