import pytest

from chipmend.errors import NetworkError
from chipmend.zoo.width import scaled


@pytest.mark.parametrize(
    ("channels", "width", "found"), [(64, 1.0, 64), (64, 0.25, 16), (64, 1 / 64, 1), (10, 0.25, 3)]
)
def test_channels_are_scaled_and_rounded(channels, width, found):
    assert scaled(channels, width) == found


# channels of MobileNetV2 as its authors publish them at widths of 0.35, 0.5, 0.75 and 1.4
@pytest.mark.parametrize(
    ("width", "found"),
    [
        (0.35, [16, 8, 8, 16, 24, 32, 56, 112]),
        (0.5, [16, 8, 16, 16, 32, 48, 80, 160]),
        (0.75, [24, 16, 24, 24, 48, 72, 120, 240]),
        (1.4, [48, 24, 32, 48, 88, 136, 224, 448]),
    ],
)
def test_multiples_are_those_of_the_published_networks(width, found):
    channels = [32, 16, 24, 32, 64, 96, 160, 320]
    assert [scaled(c, width, multiple_of=8) for c in channels] == found


@pytest.mark.parametrize("width", [0, -1, 0.01, float("nan")])
def test_a_width_without_channels_is_refused(width):
    with pytest.raises(NetworkError, match="leaves a layer of 64 without channels") as caught:
        scaled(64, width)
    assert caught.value.hint == "give 1/64 or more"
