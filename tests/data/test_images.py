import pytest
import torch

from chipmend.data import ImageSamples
from chipmend.network import Samples

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (5, 2, 3, 4), generator=GENERATOR, dtype=torch.uint8)
TARGETS = torch.tensor([3, 1, 4, 1, 5])
MEAN, STD = (0.25, 0.5), (0.5, 0.125)


@pytest.mark.parametrize("padding", [0, 1, 3])
def test_pixels_are_fractions_of_255_normalised_by_channel_with_black_around(padding):
    samples = ImageSamples(IMAGES, TARGETS, MEAN, STD, padding)
    inputs, targets = samples.batch(torch.tensor([4, 0]))
    assert inputs.dtype == torch.float32
    assert inputs.shape == (2, 2, 3 + 2 * padding, 4 + 2 * padding)
    assert targets.tolist() == [5, 3]
    for at, image in enumerate((4, 0)):
        for channel in range(2):
            for y in range(-padding, 3 + padding):
                for x in range(-padding, 4 + padding):
                    inside = 0 <= y < 3 and 0 <= x < 4
                    pixel = int(IMAGES[image, channel, y, x]) / 255 if inside else 0.0
                    expected = (pixel - MEAN[channel]) / STD[channel]
                    found = float(inputs[at, channel, y + padding, x + padding])
                    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_images_are_samples():
    samples = ImageSamples(IMAGES, TARGETS, MEAN, STD)
    assert isinstance(samples, Samples)
    assert len(samples) == 5


def test_a_subset_gives_what_the_whole_gives_at_its_indices():
    whole = ImageSamples(IMAGES, TARGETS, MEAN, STD, padding=2)
    part = whole.subset(torch.tensor([3, 1]))
    assert len(part) == 2
    for found, expected in zip(
        part.batch(torch.tensor([0, 1])), whole.batch(torch.tensor([3, 1])), strict=True
    ):
        assert found.equal(expected)


def test_reading_a_batch_leaves_the_images_as_they_were():
    before = IMAGES.clone()
    ImageSamples(IMAGES, TARGETS, MEAN, STD, padding=1).batch(torch.arange(5))
    assert IMAGES.equal(before)
