"""Drops and sums down a column, against walking it number by number."""

import pytest
import torch

from chipmend.simulate.chain import Chain
from chipmend.simulate.columns import Event

ROWS, BITS = 6, 32


def event(row, generator, *, width):
    """A few stuck bits, none of them the sign."""
    bits = torch.randperm(width, generator=generator)[:2].tolist()
    ones = [bit for bit in bits if torch.rand(1, generator=generator) < 0.5]
    return Event(row, sum(1 << b for b in bits), sum(1 << b for b in ones), BITS)


def events(columns, generator, *, width):
    found = {}
    for column in columns:
        rows = torch.randperm(ROWS, generator=generator)[: int(torch.randint(0, 4, (1,)))]
        if len(rows):
            found[column] = [event(int(r), generator, width=width) for r in rows.sort().values]
    return found


def walked(weights, operand, products, accumulators, first=0):
    """The sum of one output, PE by PE; rows beyond the operand are idle."""
    total = first
    for row in range(ROWS):
        times = int(weights[row] * operand[row]) if row < len(operand) else 0
        for each in products:
            times = each.moved(times) if each.row == row else times
        total += times
        for each in accumulators:
            total = each.moved(total) if each.row == row else total
    return total


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("rows", [ROWS, 4])
@pytest.mark.parametrize("least", [-128, 0])
@pytest.mark.parametrize("before", [(), (3,)])
def test_drops_and_sums_are_those_of_walking_down(seed, rows, least, before):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    of_products = events(range(3), generator, width=14)
    of_sums = events(range(3), generator, width=20)
    columns = sorted([0, 1, 2, 0], key=lambda c: -len(of_sums.get(c, ())))
    weights = torch.randint(-128, 128, (*before, 4, rows)).float()
    numbers = torch.randint(least, least + 256, (*before, rows, 5))
    operand = (numbers if least else numbers - 128).to(torch.int8)
    coming = torch.randint(-1000, 1000, (*before, 4, 5), dtype=torch.int32)
    whole = Chain(columns, weights, of_products, of_sums, least=least, whole=True)
    drops = Chain(columns, weights, of_products, of_sums, least=least, whole=False)
    sums, after = whole(operand), whole(operand, coming.clone())
    moves = drops.constant - drops(operand)
    plain = (weights.long() @ numbers.long()).to(torch.int32)
    for at in torch.cartesian_prod(*map(torch.arange, (*before, 4, 5))).tolist():
        *matrix, output, m = at
        column = columns[output]
        given = weights[*matrix, output], numbers[*matrix, :, m]
        stuck = of_products.get(column, ()), of_sums.get(column, ())
        expected = walked(*given, *stuck)
        assert int(sums[*at]) == expected == int(plain[*at] + moves[*at])
        assert int(after[*at]) == walked(*given, *stuck, first=int(coming[*at]))


def test_at_rest_outputs_move_by_what_is_stuck_at_one():
    accumulators = {0: [Event(1, 0b1100, 0b0100, BITS)]}
    chain = Chain([0, 1], torch.zeros(2, ROWS), {}, accumulators, least=0, whole=False)
    assert chain.at_rest().tolist() == [[0b0100], [0]]
