import pickle

import numpy as np
import pytest
import torch

from chipmend.data import cifar
from chipmend.data.cifar import cifar10, cifar100
from chipmend.errors import DataError

NAMES = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]


@pytest.fixture
def small(monkeypatch):
    """Four pictures in a file of CIFAR-10, twenty and four in those of CIFAR-100."""
    monkeypatch.setattr(cifar, "PICTURES", 20)
    monkeypatch.setattr(cifar, "TEST_PICTURES", 4)


def pixels(red, green, blue):
    """A picture of one colour, as both versions store it: plane after plane."""
    return bytes([red]) * 1024 + bytes([green]) * 1024 + bytes([blue]) * 1024


def pictures(number, count):
    """Pictures whose colour tells file and place."""
    return [pixels(40 * number, 10 * place, 7) for place in range(count)]


@pytest.fixture(params=["binary", "python"])
def folder(tmp_path, request, small):
    for number, name in enumerate(NAMES):
        held = pictures(number, 4)
        if request.param == "binary":
            rows = b"".join(bytes([place]) + picture for place, picture in enumerate(held))
            (tmp_path / f"{name}.bin").write_bytes(rows)
        else:
            write_python(tmp_path / name, held, b"labels", range(4))
    return tmp_path


@pytest.fixture(params=["binary", "python"])
def folder100(tmp_path, request, small):
    for number, (name, count) in enumerate([("train", 20), ("test", 4)]):
        held, fine = pictures(number, count), [99 - place for place in range(count)]
        if request.param == "binary":
            rows = b"".join(bytes([7, f]) + picture for f, picture in zip(fine, held, strict=True))
            (tmp_path / f"{name}.bin").write_bytes(rows)
        else:
            write_python(tmp_path / name, held, b"fine_labels", fine)
    return tmp_path


def write_python(path, held, key, labels):
    rows = np.stack([np.frombuffer(picture, np.uint8) for picture in held])
    content = {
        b"data": rows,
        key: [*labels],
        b"coarse_labels": [0] * len(held),
        b"batch_label": b"batch",
    }
    path.write_bytes(pickle.dumps(content, 2))


def test_every_picture_comes_with_its_class_and_colours(folder):
    inputs, targets = cifar10(folder).test.batch(torch.arange(4))
    assert targets.tolist() == [0, 1, 2, 3]
    assert inputs.shape == (4, 3, 32, 32)
    for channel, value in enumerate((200, 30, 7)):
        mean, std = ((0.4914, 0.2470), (0.4822, 0.2435), (0.4465, 0.2616))[channel]
        wanted = (value / 255 - mean) / std
        assert inputs[3, channel].numpy() == pytest.approx(np.full((32, 32), wanted), abs=1e-5)


def test_of_cifar_100_the_fine_classes_are_read(folder100):
    splits = cifar100(folder100)
    inputs, targets = splits.test.batch(torch.arange(4))
    assert targets.tolist() == [99, 98, 97, 96]
    assert inputs[2, 1, 0, 0].item() == pytest.approx((20 / 255 - 0.4865) / 0.2564, abs=1e-5)
    assert (len(splits.train), len(splits.validation)) == (18, 2)


def test_both_versions_have_the_same_bytes_in_the_same_places(tmp_path, small):
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 256, (4, 3072), np.uint8)
    for kind in ("binary", "python"):
        (tmp_path / kind).mkdir()
    for name in NAMES:
        (tmp_path / "binary" / f"{name}.bin").write_bytes(
            b"".join(bytes([2]) + row.tobytes() for row in rows)
        )
        write_python(
            tmp_path / "python" / name, [row.tobytes() for row in rows], b"labels", [2] * 4
        )
    one, other = (
        cifar10(tmp_path / kind).test.batch(torch.arange(4)) for kind in ("binary", "python")
    )
    assert one[0].equal(other[0])
    wanted = rows.reshape(4, 3, 32, 32)[1, 2, 3, 4]
    assert one[0][1, 2, 3, 4].item() == pytest.approx((wanted / 255 - 0.4465) / 0.2616, abs=1e-5)


def test_a_tenth_validates_and_nothing_is_in_two_splits(folder):
    splits = cifar10(folder)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (18, 2, 4)
    train, validation = (
        {tuple(x[:, 0, 0].tolist()) for x in s.batch(torch.arange(len(s)))[0]}
        for s in (splits.train, splits.validation)
    )
    assert len(train | validation) == 20


def test_a_missing_file_is_named(folder):
    for path in folder.glob("data_batch_3*"):
        path.unlink()
    with pytest.raises(DataError, match=r"data_batch_3"):
        cifar10(folder)


@pytest.mark.parametrize(("cut", "said"), [(1, "12291 bytes"), (3073, "holds 3 pictures"),
                                           (4 * 3073, "0 bytes")])  # fmt: skip
def test_a_file_cut_short_is_an_error(tmp_path, small, cut, said):
    rows = b"".join(bytes([place]) + picture for place, picture in enumerate(pictures(0, 4)))
    for name in NAMES:
        (tmp_path / f"{name}.bin").write_bytes(rows)
    (tmp_path / "test_batch.bin").write_bytes(rows[:-cut])
    with pytest.raises(DataError, match=said):
        cifar10(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "no array of bytes under 'data'"),
        ({b"labels": [0] * 4}, "no array of bytes under 'data'"),
        ({b"data": np.zeros((4, 3072), np.uint8)}, "no list of classes under 'labels'"),
        ({b"data": np.zeros((4, 3072), np.uint8), b"labels": ["a"] * 4}, "no list of classes"),
        ({b"data": np.zeros((4, 9), np.uint8), b"labels": [0] * 4}, "4 pictures of 9 bytes"),
        ({b"data": np.zeros((4, 3072), np.uint8), b"labels": [0] * 3}, "3 classes"),
    ],
)
def test_a_pickle_of_something_else_says_what_is_missing(tmp_path, small, content, said):
    for name in NAMES:
        write_python(tmp_path / name, pictures(0, 4), b"labels", range(4))
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content, 2))
    with pytest.raises(DataError, match=said):
        cifar10(tmp_path)


def test_an_impossible_class_is_an_error(tmp_path, small):
    for name in NAMES:
        write_python(tmp_path / name, pictures(0, 4), b"labels", [0, 1, 2, 11])
    with pytest.raises(DataError, match="classes from 0 to 11"):
        cifar10(tmp_path)


@pytest.mark.parametrize("read", [cifar10, cifar100])
def test_without_a_folder_it_says_what_to_give(read):
    with pytest.raises(DataError, match="no place of its own"):
        read()
