import itertools

import numpy as np
import pytest

from chipmend.confidence.shift import ALARM, can_tell, shifts


def ks_by_hand(first, second):
    """The largest difference of two distributions, and how many orders of all show as large a one.

    Oracle for samples without ties: all ways to share the places out between the two.
    """
    pooled = sorted([*first, *second])

    def difference(own):
        ours = np.cumsum([value in own for value in pooled]) / len(own)
        theirs = np.cumsum([value not in own for value in pooled]) / (len(pooled) - len(own))
        return round(float(np.abs(ours - theirs).max()), 9)

    here = difference(set(first))
    every = [difference(set(own)) for own in itertools.combinations(pooled, len(first))]
    return sum(each >= here for each in every) / len(every)


def test_the_chance_is_that_of_all_ways_to_share_the_chips_out():
    first, second = np.array([1.0, 2, 4, 5, 7]), np.array([3.0, 6, 8, 9, 10, 11])
    (found,) = shifts({"rate": first}, {"rate": second}, alarm=1.0)
    assert found.p_value == pytest.approx(ks_by_hand(first, second))
    assert (found.promised, found.found) == (4.0, 8.5)


def test_traits_share_the_chance_of_a_false_alarm():
    first, second = np.arange(50.0), np.arange(50.0) + 14
    alone = shifts({"a": first}, {"a": second}, alarm=1.0)[0].p_value
    both = shifts({"a": first, "b": first}, {"a": second, "b": first}, alarm=0.5)
    assert [(shift.trait, shift.p_value) for shift in both] == [("a", pytest.approx(2 * alone))]
    same = {"b": np.zeros(50)}  # nobody differs: it does not count
    assert shifts({"a": first, **same}, {"a": second, **same}, alarm=1.0)[0].p_value == alone


def test_alike_chips_give_few_alarms_and_unlike_ones_do():
    rng = np.random.default_rng(0)

    def alarms(by):
        return sum(
            bool(
                shifts(
                    {name: rng.normal(size=200) for name in "abc"},
                    {name: rng.normal(size=100) + by for name in "abc"},
                )
            )
            for _ in range(200)
        )

    assert alarms(0.0) <= 200 * ALARM * 2.5
    assert alarms(1.0) == 200


def test_one_chip_says_too_little_for_an_alarm():
    assert shifts({"a": np.arange(19.0)}, {"a": np.array([1e9])}) == []


@pytest.mark.parametrize("trial", [1, 2, 9, 30])
def test_nothing_can_be_told_of_chips_that_no_difference_would_show_in(trial):
    """Between samples that lie altogether apart, nothing differs more."""
    names = "abc"
    for count in (1, 2, 3, 5):
        first = {name: np.arange(float(trial)) for name in names}
        apart = {name: np.arange(float(count)) + trial for name in names}
        assert can_tell(first, apart) == bool(shifts(first, apart))
        alone = {"a": first["a"]}, {"a": apart["a"]}
        assert can_tell(*alone) == bool(shifts(*alone))
