import pytest

from chipmend.report.wording import in_words
from chipmend.steps import (
    Assess,
    Compensate,
    KeepBetter,
    Measure,
    OneShot,
    Prune,
    Recalibrate,
    Reestimate,
    Remap,
    Retrain,
)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ((), "nothing"),
        ((Prune(), Assess(), Measure()), "prune"),
        ((Prune(), Recalibrate()), "match"),
        ((Prune(), Recalibrate(form=Reestimate())), "re-estimate"),
        ((Prune(), Compensate(form=OneShot()), Remap(), Compensate()), "remap, sequential"),
        ((Prune(), Retrain(epochs=0.1), Measure(), Retrain(epochs=0.2)), "retrain"),
        ((Prune(), Compensate(), Retrain(), KeepBetter()), "sequential, retrain, keep the better"),
    ],
)
def test_a_recipe_is_told_by_what_it_does_and_not_by_its_amounts(recipe, words):
    assert in_words(recipe) == words
