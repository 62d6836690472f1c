import dataclasses

import torch
from torch import nn

from chipmend.network import Task
from chipmend.repairs import Cost
from chipmend.repairs.cost import forward_pass

ONE = Cost(retrain=1.0, recalibrate=0.25, algebra=2.0, measure=0.5, seconds=8.0)
OTHER = Cost(retrain=0.5, recalibrate=0.125, algebra=1.5, measure=0.0625, seconds=2.0)


def test_epoch_equivalents_are_the_sum_of_what_was_done_and_no_seconds():
    assert ONE.ee == 3.75
    assert Cost(seconds=3600.0).ee == 0


def test_costs_add_and_subtract_part_by_part():
    total = ONE + OTHER
    assert dataclasses.astuple(total) == (1.5, 0.375, 3.5, 0.5625, 10.0)
    assert total - OTHER == ONE
    assert sum([ONE, OTHER], Cost()) == total


def test_every_part_of_a_cost_is_on_the_bill():
    for field in dataclasses.fields(Cost):
        one = Cost(**{field.name: 1.0})
        assert one + Cost() == one
        assert one - one == Cost()
        assert one.ee == (field.name != "seconds")


def test_a_forward_pass_over_the_training_split_is_a_third_of_an_epoch():
    split = torch.zeros(96, 2), torch.zeros(96, dtype=torch.int64)
    task = Task(nn.Linear(2, 2), train=split, validation=split, test=split)
    assert 3 * forward_pass(96, task) == 1
    assert forward_pass(48, task) == 48 / 288
