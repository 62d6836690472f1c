"""What every search keeps to, and how good each is where the law of accuracy is known."""

import pytest

from chipmend.errors import MissingExtraError
from chipmend.protect.search import (
    Bayesian,
    RandomSearch,
    SobolGreedy,
    bayesian,
    best,
    found_botorch,
)
from chipmend.protect.search.greedy import SOBOL
from protect import small
from protect.search.examples import SPACE, TARGETS, candidates, measured

needs_botorch = pytest.mark.skipif(not found_botorch(), reason="BoTorch is not installed")
MAKERS = {
    "random": lambda found, seed: RandomSearch(found, seed=seed),
    "sobol-greedy": lambda found, seed: SobolGreedy(found, SPACE, small.ARRAY, seed=seed),
    "bayesian": lambda found, seed: Bayesian(found, TARGETS, seed=seed),
}
SEARCHES = [
    "random",
    "sobol-greedy",
    pytest.param("bayesian", marks=needs_botorch),
]


@pytest.fixture(scope="module")
def found():
    return candidates()


def searched(search, found, count):
    told = []
    for _ in range(count):
        design = search.ask()
        if design is None:
            break
        told.append(measured(found.known[found.at[design]]))
        search.tell(told[-1])
    return told


@pytest.mark.parametrize("name", SEARCHES)
def test_no_design_is_asked_for_twice_nor_one_that_was_told(name, found):
    search = MAKERS[name](found, 0)
    known = measured(found.known[3])
    search.tell(known)
    told = searched(search, found, 15)
    designs = [each.design for each in told]
    assert len(set(designs)) == len(designs) > 5
    assert known.design not in designs
    assert all(design in found.at for design in designs)
    if len(designs) < 15:
        least = best([known, *told]).costs.area.total
        smaller = {e.design for e in found.known if e.costs.area.total < least}
        assert smaller <= {known.design, *designs}


@pytest.mark.parametrize("name", SEARCHES)
def test_told_the_same_the_same_is_asked_for(name, found):
    first, second, other = (searched(MAKERS[name](found, s), found, 8) for s in (1, 1, 2))
    assert [e.design for e in first] == [e.design for e in second]
    assert [e.design for e in first] != [e.design for e in other]


@pytest.mark.parametrize("name", SEARCHES)
def test_several_can_be_asked_for_before_any_is_told(name, found):
    search = MAKERS[name](found, 0)
    for each in searched(search, found, 2):
        assert each.fall
    some = [search.ask() for _ in range(4)]
    assert len(set(some)) == 4
    assert None not in some


def test_a_search_that_has_seen_all_says_so(found):
    search = MAKERS["random"](found, 0)
    assert len(searched(search, found, len(found) + 5)) == len(found)
    assert search.ask() is None


def test_the_sequence_has_units_beside_extended_signs_whose_bits_are_cut_to_what_sums_need(found):
    starts = (SobolGreedy(found, SPACE, small.ARRAY, seed=seed) for seed in range(3))
    designs = [each.ask() for each in starts for _ in range(SOBOL)]
    both = [design for design in designs if design.sign_extension and design.lanes]
    assert any(design.important_bits < 22 for design in both)


def test_chance_may_be_kept_to_designs_smaller_than_the_best(found):
    told = searched(RandomSearch(found, seed=0, smaller=True), found, 40)
    least = float("inf")
    for each in told:
        assert each.costs.area.total < least
        least = min(least, each.costs.area.total) if each.meets else least
    assert sum(each.meets for each in told) > 1


def test_a_botorch_that_cannot_be_imported_is_none(monkeypatch):
    def broken(module, *, extra):
        raise MissingExtraError(f"{module} cannot be imported", hint=extra)

    monkeypatch.setattr(bayesian, "imported", broken)
    assert not found_botorch()


@needs_botorch
def test_bayesian_search_finds_the_smallest_design_soon(found):
    truth = best(measured(known) for known in found.known)
    areas = {}
    for name in MAKERS:
        ends = [best(searched(MAKERS[name](found, seed), found, 20)) for seed in range(3)]
        areas[name] = [each.costs.overhead / truth.costs.overhead for each in ends]
    assert max(areas["bayesian"]) < 1.05
    assert sum(areas["bayesian"]) < sum(areas["random"])
    assert sum(areas["sobol-greedy"]) < sum(areas["random"])


def test_the_best_is_the_smallest_of_those_that_meet_the_targets(found):
    everything = [measured(known) for known in found.known]
    assert {each.meets for each in everything} == {True, False}
    least = min(e.costs.area.total for e in everything if e.fall.drop <= 0.01)
    assert best(everything).costs.area.total == least
    assert best([e for e in everything if not e.meets]) is None
