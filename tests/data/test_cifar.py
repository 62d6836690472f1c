import numpy as np
import pytest
import torch

from chipmend.data.cifar import MEAN, STD, cifar10
from chipmend.errors import DataError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """CIFAR-10 with four pictures a file, each of one colour that tells file and place."""
    for number, name in enumerate(
        [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]
    ):
        rows = bytearray()
        for place in range(4):
            red, green, blue = 40 * number, 10 * place, 7
            rows += (
                bytes([place]) + bytes([red]) * 1024 + bytes([green]) * 1024 + bytes([blue]) * 1024
            )
        (tmp_path / name).write_bytes(bytes(rows))
    monkeypatch.setattr("chipmend.data.cifar.PICTURES_PER_FILE", 4)
    return tmp_path


def test_every_picture_comes_with_its_class_and_colours(folder):
    inputs, targets = cifar10(folder).test.batch(torch.arange(4))
    assert targets.tolist() == [0, 1, 2, 3]
    assert inputs.shape == (4, 3, 32, 32)
    for channel, value in enumerate((200, 30, 7)):
        wanted = (value / 255 - MEAN[channel]) / STD[channel]
        assert inputs[3, channel].numpy() == pytest.approx(np.full((32, 32), wanted), abs=1e-5)


def test_a_tenth_validates_and_nothing_is_in_two_splits(folder):
    splits = cifar10(folder)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (18, 2, 4)
    train, validation = (
        {tuple(x[:, 0, 0].tolist()) for x in s.batch(torch.arange(len(s)))[0]}
        for s in (splits.train, splits.validation)
    )
    assert len(train | validation) == 20


def test_a_missing_file_is_named(folder):
    (folder / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_3\.bin"):
        cifar10(folder)


@pytest.mark.parametrize("cut", [1, 3073, 4 * 3073])
def test_a_file_cut_short_is_an_error(folder, cut):
    path = folder / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DataError, match="not 4 pictures of 3073"):
        cifar10(folder)


def test_an_impossible_class_is_an_error(folder):
    path = folder / "test_batch.bin"
    path.write_bytes(b"\x0b" + path.read_bytes()[1:])
    with pytest.raises(DataError, match="class of 11"):
        cifar10(folder)


def test_without_a_folder_it_says_what_to_give():
    with pytest.raises(DataError, match="no place of its own"):
        cifar10()
