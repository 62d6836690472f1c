from dataclasses import replace

import numpy as np
import pytest

from chipmend.protect.design import Targets
from chipmend.protect.search import Candidates
from chipmend.protect.search import candidates as module
from protect import small
from protect.search.examples import SPACE, candidates, evaluator


def test_designs_that_are_known_to_be_too_slow_are_left_out():
    strict = evaluator(targets=Targets(slowdown=0.0))
    found = Candidates.of(SPACE, small.ARRAY, strict, seed=0)
    assert 0 < len(found) < len(candidates())
    assert all(each.costs.slowdown == 0 for each in found.known)


def test_none_of_the_front_is_beaten_in_area_and_harm():
    found = candidates()
    for place in found.front:
        beaten = (found.areas <= found.areas[place]) & (found.harms < found.harms[place])
        assert not beaten.any()


def test_features_go_from_0_to_1_and_tell_designs_apart():
    found = candidates()
    assert found.features.min(0) == pytest.approx(0)
    assert found.features.max(0) == pytest.approx(1)
    assert len(np.unique(found.features, axis=0)) == len(found)


def test_of_too_many_those_with_a_unit_are_drawn(monkeypatch):
    whole = candidates()
    simple = [e.design for e in whole.known if not e.design.lanes]
    monkeypatch.setattr(module, "MOST", len(simple) + 20)
    some = Candidates.of(SPACE, small.ARRAY, evaluator(), seed=1)
    again = Candidates.of(SPACE, small.ARRAY, evaluator(), seed=1)
    assert len(some) == len(simple) + 20 == len(whole) - some.left_out
    assert set(simple) < {e.design for e in some.known}
    assert [e.design for e in some.known] == [e.design for e in again.known]
    assert whole.left_out == 0


def test_designs_that_do_the_same_are_one():
    found = candidates()
    at = {(e.first, e.last, replace(e.design, ordinary_bits=0)) for e in found.known}
    assert len(at) == len(found)
    assert max(e.design.ordinary_bits for e in found.known if e.design.sign_extension) < 22
