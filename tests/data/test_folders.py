import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from chipmend.data import folders
from chipmend.data.folders import MEAN, STD, image_folders
from chipmend.errors import DataError, MissingExtraError
from chipmend.network import Task
from chipmend.network.samples import digest_of_samples


def picture(path, colour, size=(60, 40), mode="RGB", ending="JPEG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(
        path, ending, **({"quality": 95} if ending == "JPEG" else {})
    )


@pytest.fixture
def folder(tmp_path):
    """Two classes in the names and the layout of ImageNet, of one colour each."""
    for split, count in (("train", 10), ("val", 2)):
        for name, colour in (("n01440764", (200, 30, 10)), ("n02123045", (20, 40, 220))):
            for number in range(count):
                picture(tmp_path / split / name / f"{name}_{number}.JPEG", colour)
    return tmp_path


def test_classes_are_the_folders_in_order_and_val_is_the_test_split(folder):
    splits = image_folders(folder, size=32, shorter_side=36)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (18, 2, 4)
    inputs, targets = splits.test.batch(torch.arange(4))
    assert inputs.shape == (4, 3, 32, 32)
    assert targets.tolist() == [0, 0, 1, 1]
    for sample, colour in ((0, (200, 30, 10)), (2, (20, 40, 220))):
        for channel, value in enumerate(colour):
            wanted = (value / 255 - MEAN[channel]) / STD[channel]
            assert inputs[sample, channel].mean().item() == pytest.approx(wanted, abs=0.05)


def test_the_square_is_cut_from_the_middle_after_scaling(tmp_path):
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, 20:60] = 255  # the middle square of 40 x 40
    for split in ("train", "val"):
        for number in range(2):
            path = tmp_path / split / "only" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(wide).save(path)
    inputs, _ = image_folders(tmp_path, size=20, shorter_side=20).test.batch(torch.tensor([0]))
    inside = (1 - torch.tensor(MEAN)) / torch.tensor(STD)
    assert torch.allclose(inputs[0, :, :, 2:-2], inside.view(3, 1, 1).expand(3, 20, 16), atol=1e-5)


def test_grey_and_small_pictures_become_squares_of_three_channels(tmp_path):
    for split in ("train", "val"):
        picture(tmp_path / split / "a" / "grey.jpg", 128, (30, 50), "L")
        picture(tmp_path / split / "a" / "clear.PNG", (1, 2, 3, 4), (5, 4), "RGBA", "PNG")
        (tmp_path / split / "a" / "notes.txt").write_text("no picture")
    test = image_folders(tmp_path).test
    assert test.batch(torch.arange(2))[0].shape == (2, 3, 224, 224)


def test_a_task_takes_the_splits_and_their_digest_hangs_on_files_and_classes(folder):
    splits = image_folders(folder, size=8, shorter_side=8)
    network = nn.Sequential(nn.Conv2d(3, 2, 8), nn.Flatten())
    Task(network, train=splits.train, validation=splits.validation, test=splits.test)
    digests = {digest_of_samples(splits.train), digest_of_samples(splits.test)}
    picture(folder / "val" / "n01440764" / "n01440764_0.JPEG", (1, 1, 1), (80, 80))
    again = image_folders(folder, size=8, shorter_side=8)
    assert digest_of_samples(again.train) in digests
    assert digest_of_samples(again.test) not in digests
    other = image_folders(folder, size=9, shorter_side=9)
    assert digest_of_samples(other.train) not in digests


def test_a_damaged_picture_is_named(folder):
    path = folder / "val" / "n01440764" / "n01440764_1.JPEG"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"n01440764_1\.JPEG"):
        image_folders(folder).test.batch(torch.arange(2))


def test_what_is_missing_is_named(folder, tmp_path):
    with pytest.raises(DataError, match="no place of their own"):
        image_folders()
    with pytest.raises(DataError, match=f"cannot read {tmp_path}/none/train"):
        image_folders(tmp_path / "none")
    with pytest.raises(DataError, match="squares of 8 pixels"):
        image_folders(folder, size=8, shorter_side=7)
    (folder / "val" / "n9").mkdir()
    with pytest.raises(DataError, match="do not have the same classes: n9"):
        image_folders(folder)
    (folder / "train" / "n9").mkdir()
    with pytest.raises(DataError, match=r"no picture in .*/train/n9"):
        image_folders(folder)


def test_folders_without_classes_are_refused(tmp_path):
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
    with pytest.raises(DataError, match="no class in"):
        image_folders(tmp_path)


def test_without_pillow_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError, match="PIL"):
        image_folders(folder)
    assert folders.SIZE == 224


def test_pictures_of_more_than_8_bits_and_hidden_folders_are_not_taken_for_something_else(folder):
    (folder / "train" / ".hidden").mkdir()
    image_folders(folder)
    deep = folder / "val" / "n01440764" / "deep.png"
    Image.new("I;16", (20, 20), 40_000).save(deep)
    splits = image_folders(folder)
    with pytest.raises(DataError, match="more than 8 bits per channel"):
        splits.test.batch(torch.arange(len(splits.test)))
