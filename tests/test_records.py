import datetime as dt
import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chipmend.records import digest_of, plain, rebuilt
from chipmend.steps import (
    Anytime,
    Assess,
    ClosedForm,
    Compensate,
    Decaying,
    Distill,
    KeepBetter,
    Labels,
    Magnitude,
    Match,
    Measure,
    OneShot,
    Prune,
    Recalibrate,
    Recipe,
    Reestimate,
    Remap,
    Retrain,
    Sequential,
)


@dataclass(frozen=True)
class Inner:
    name: str
    rates: tuple[float, ...] = ()
    best: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    count: int
    inner: Inner
    more: dict[str, Inner] = field(default_factory=dict)
    list_of: list[Inner] = field(default_factory=list)


finite = st.floats(allow_nan=False, allow_infinity=False)
inners = st.builds(
    Inner, st.text(max_size=5), st.lists(finite, max_size=3).map(tuple), st.none() | finite
)
outers = st.builds(
    Outer,
    count=st.integers(-(2**60), 2**60),
    inner=inners,
    more=st.dictionaries(st.text(max_size=3), inners, max_size=2),
    list_of=st.lists(inners, max_size=2),
)
samples = st.integers(16, 9999)
reestimates = st.builds(Reestimate, samples=samples)
moments = st.builds(OneShot, samples=samples, damping=st.floats(0, 1))
recipes = st.lists(
    st.one_of(
        st.just(Prune()),
        st.just(KeepBetter()),
        st.builds(Measure, share=st.floats(0.01, 1)),
        st.builds(Assess, moments=moments),
        st.builds(Recalibrate, form=reestimates | st.builds(Match, samples=samples)),
        st.builds(Compensate, form=moments | st.builds(Sequential, samples=samples)),
        st.builds(Remap, saliency=st.just(Magnitude()) | st.builds(ClosedForm, moments=moments)),
        st.builds(
            Retrain,
            epochs=st.floats(0.01, 99),
            learning_rate=st.floats(1e-6, 1),
            batch=st.integers(1, 999),
            weight_decay=st.floats(0, 1),
            schedule=st.builds(Anytime, averaging=st.floats(0, 9)) | st.just(Decaying()),
            teacher=st.just(Labels()) | st.builds(Distill, temperature=st.floats(0.1, 9)),
            recalibrate=reestimates,
        ),
    ),
    max_size=5,
).map(tuple)


@settings(deadline=None)
@given(outers)
def test_nested_dataclasses_come_back_from_json_as_they_were(value):
    assert rebuilt(Outer, json.loads(json.dumps(plain(value)))) == value


@settings(deadline=None)
@given(recipes)
def test_recipes_come_back_from_json_as_they_were(recipe):
    again = rebuilt(Recipe, json.loads(json.dumps(plain(recipe))))
    assert again == recipe
    assert [type(step) for step in again] == [type(step) for step in recipe]


def test_infinities_and_nan_become_null_at_any_depth():
    value = {"a": [math.inf, (-math.inf, 1.5)], "b": Inner("x", (math.nan,))}
    assert plain(value) == {
        "a": [None, [None, 1.5]],
        "b": {"name": "x", "rates": [None], "best": None},
    }
    json.dumps(plain(value), allow_nan=False)


def test_any_mapping_becomes_an_object_with_text_as_keys():
    assert plain(MappingProxyType({1: (2,), "x": True})) == {"1": [2], "x": True}


def test_a_dataclass_itself_is_not_taken_for_an_instance():
    assert plain(Inner) == f"{__name__}.Inner"


class Held:
    pass


def test_arrays_sets_and_objects_become_the_same_text_in_every_process():
    held = {"a": np.array([[1, 2]]), "t": torch.ones(2), "s": {"y", "x"}, "o": Held(), "k": Held}
    assert plain(held) == {
        "a": [[1, 2]],
        "t": [1.0, 1.0],
        "s": ["x", "y"],
        "o": f"{__name__}.Held",
        "k": f"{__name__}.Held",
    }


def test_infinities_nan_and_nothing_have_digests_of_their_own():
    values = (math.inf, -math.inf, math.nan, None, "inf", 0.0)
    assert len({digest_of(value) for value in values}) == len(values)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (Inner, {}),
        (Inner, {"name": 7}),
        (Outer, {"count": "many", "inner": {"name": "x"}}),
        (Outer, {"count": 1, "inner": {"nam": "x"}}),
        (Retrain, {"epochs": 1, "epoch": 1}),
        (Retrain, {"epochs": -1}),
        (Recipe, [{"kind": "retrai"}]),
        (tuple[int, ...], 5),
    ],
)
def test_content_that_does_not_fit_is_a_value_error(kind, content):
    with pytest.raises(ValueError, match=r"validation error|error"):
        rebuilt(kind, content)


def test_a_digest_is_of_the_content_as_compact_sorted_json():
    text = '{"best":null,"name":"x","rates":[0.5]}'
    assert digest_of(Inner("x", (0.5,))) == hashlib.sha256(text.encode()).hexdigest()


def test_a_digest_does_not_depend_on_how_the_content_is_held():
    assert digest_of(Inner("x", (0.5,))) == digest_of(plain(Inner("x", (0.5,))))
    assert digest_of({"a": 1, "b": (2, 3)}) == digest_of({"b": [2, 3], "a": 1})


@settings(deadline=None)
@given(outers, outers)
def test_digests_are_equal_if_and_only_if_the_content_is(one, other):
    texts = [json.dumps(plain(value), sort_keys=True) for value in (one, other)]
    assert (digest_of(one) == digest_of(other)) == (texts[0] == texts[1])


def test_what_json_has_no_word_for_becomes_text():
    value = {"day": dt.date(2026, 1, 2), "at": Path("a/b")}
    assert plain(value) == {"day": "2026-01-02", "at": "a/b"}


def test_numpy_s_numbers_become_numbers():
    value = [np.bool_(True), np.int64(3), np.float32(0.5), np.float64(np.inf)]
    assert plain(value) == [True, 3, 0.5, None]
    assert [type(item) for item in plain(value)] == [bool, int, float, type(None)]
