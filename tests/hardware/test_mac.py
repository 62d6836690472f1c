import pytest

from chipmend.errors import ArrayError
from chipmend.hardware import Accumulators, Array, WeightMemory


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bits": 15}, "bits is 15"),
        ({"bits": 33}, "bits is 33"),
        ({"bits": 24.5}, "bits is 24.5"),
        ({"outside_bits": 64}, "outside_bits is 64"),
        ({"overflow": "clip"}, "overflow is 'clip'"),
        ({"tiles": "inside"}, "tiles is 'inside'"),
    ],
)
def test_what_are_no_accumulators_is_refused(wrong, said):
    with pytest.raises(ArrayError, match=said) as caught:
        Accumulators(**wrong)
    assert caught.value.hint.startswith("give")


def test_a_product_holds_every_weight_times_every_activation():
    for bits in (2, 5, 8):
        array = Array(rows=1, cols=1, memory=WeightMemory(bits=bits))
        assert array.bits_at("weight") == bits
        least, most = (
            -(2 ** (array.bits_at("product") - 1)),
            2 ** (array.bits_at("product") - 1) - 1,
        )
        for weight in (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1):
            for activation in (-128, 127, 255):
                assert least <= weight * activation <= most
    assert Array(rows=1, cols=1, accumulators=Accumulators(bits=24)).bits_at("accumulator") == 24
