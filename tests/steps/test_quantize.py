import pytest

from chipmend.errors import PlanError
from chipmend.steps import FAQ, CompensatedFAQ, Naive, Percentile, Quantize, SequentialFAQ


@pytest.mark.parametrize("kind", [FAQ, CompensatedFAQ, SequentialFAQ])
@pytest.mark.parametrize("steps", [(), (0.0,), (1.1,), (1.0, -0.5), 0.9, ("1",)])
def test_impossible_shares_of_a_step_are_refused(kind, steps):
    with pytest.raises(PlanError, match="steps_tried"):
        kind(steps_tried=steps)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Quantize(form="faq"), "the form is 'faq'"),
        (lambda: Quantize(activations=FAQ()), "activations are"),
        (lambda: Quantize(unknown="skip"), "unknown operators are 'skip'"),
        (lambda: Quantize(samples=15), "15 samples are too few"),
        (lambda: Percentile(share=0.0), "a share of 0.0"),
        (lambda: Percentile(share=1.01), "a share of 1.01"),
        (lambda: SequentialFAQ(samples=15), "15 samples are too few"),
        (lambda: SequentialFAQ(pull=-0.1), "pull"),
        (lambda: SequentialFAQ(places=0), "places"),
    ],
)
def test_impossible_settings_are_refused(made, said):
    with pytest.raises(PlanError, match=said):
        made()


def test_lists_as_plans_have_them_become_tuples_that_can_be_keys():
    assert FAQ(steps_tried=[1.0, 0.9]).steps_tried == (1.0, 0.9)
    assert len({Quantize(form=Naive()), Quantize(form=FAQ()), Quantize()}) == 3
