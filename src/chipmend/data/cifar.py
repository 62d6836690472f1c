"""CIFAR-10 and CIFAR-100: 50,000 + 10,000 pictures of 32 x 32 pixels, in their two versions.

The binary version has rows of bytes; the Python version has pickles, of which only the array and
the classes are taken out and nothing is ever run.

References:
    [Krizhevsky2009] Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from chipmend.data.images import ImageSamples
from chipmend.data.pickles import plain_contents
from chipmend.data.splits import Splits, held_out
from chipmend.errors import DataError

PICTURE = (3, 32, 32)
PIXELS = 3 * 32 * 32
PICTURES, TEST_PICTURES = 50_000, 10_000
HELD_OUT_SHARE = 10  # one training picture in ten validates


@dataclass(frozen=True, slots=True)
class _Cifar:
    """One of the two data sets.

    Args:
        name: Its name.
        classes: Classes to tell apart.
        train: Names of the files with training pictures, as the Python version has them.
        test: Name of the file with test pictures.
        labels: Under which key the Python version has the classes.
        labels_per_row: Classes in front of a picture in the binary version; the last one counts.
        mean: Of the training pixels of each channel, as a fraction of 255.
        std: Their standard deviation.
    """

    name: str
    classes: int
    train: tuple[str, ...]
    test: str
    labels: bytes
    labels_per_row: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


_CIFAR10 = _Cifar(
    "CIFAR-10",
    10,
    tuple(f"data_batch_{number}" for number in range(1, 6)),
    "test_batch",
    b"labels",
    1,
    (0.4914, 0.4822, 0.4465),
    (0.2470, 0.2435, 0.2616),
)
_CIFAR100 = _Cifar(
    "CIFAR-100",
    100,
    ("train",),
    "test",
    b"fine_labels",
    2,
    (0.5071, 0.4865, 0.4409),
    (0.2673, 0.2564, 0.2762),
)


def cifar10(path: str | Path | None = None) -> Splits:
    """Read CIFAR-10, with a tenth of the training pictures held out to validate.

    Args:
        path: Folder of the binary version (``data_batch_1.bin`` to ``data_batch_5.bin``,
            ``test_batch.bin``) or of the Python version (the same without ``.bin``).

    Returns:
        45,000 training, 5,000 validation and 10,000 test pictures.

    Raises:
        DataError: No folder, or a file is missing or not of the format.
    """
    return _splits(_CIFAR10, path)


def cifar100(path: str | Path | None = None) -> Splits:
    """Read CIFAR-100 with its 100 classes, a tenth of the training pictures held out to validate.

    Args:
        path: Folder of the binary version (``train.bin``, ``test.bin``) or of the Python version
            (``train``, ``test``).

    Returns:
        45,000 training, 5,000 validation and 10,000 test pictures.

    Raises:
        DataError: No folder, or a file is missing or not of the format.
    """
    return _splits(_CIFAR100, path)


def _splits(which: _Cifar, path: str | Path | None) -> Splits:
    if path is None:
        raise DataError(
            f"{which.name} has no place of its own on a machine",
            hint="give the folder of its binary or Python version (data.path in a plan)",
        )
    whole = _samples(which, Path(path), which.train, PICTURES)
    train, validation = held_out(len(whole), len(whole) // HELD_OUT_SHARE)
    test = _samples(which, Path(path), (which.test,), TEST_PICTURES)
    return Splits(whole.subset(train), whole.subset(validation), test)


def _samples(which: _Cifar, folder: Path, names: Sequence[str], pictures: int) -> ImageSamples:
    parts = [_part(which, folder, name, pictures // len(names)) for name in names]
    images = np.concatenate([images for images, _ in parts])
    targets = np.concatenate([targets for _, targets in parts])
    return ImageSamples(
        torch.from_numpy(images.reshape(-1, *PICTURE)),
        torch.from_numpy(targets),
        which.mean,
        which.std,
    )


def _part(which: _Cifar, folder: Path, name: str, pictures: int) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of one file, a row each, and their classes."""
    pickled = folder / name
    path = pickled if pickled.is_file() else folder / f"{name}.bin"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}",
            hint=f"give the folder of {which.name}'s binary or Python version",
        ) from error
    read = _from_pickle if path == pickled else _from_rows
    images, targets = read(which, content, path)
    if len(images) != pictures or images.shape[1] != PIXELS or len(targets) != pictures:
        raise DataError(
            f"{path} holds {len(images)} pictures of {images.shape[1]} bytes and {len(targets)} "
            f"classes, not {pictures} pictures of {PIXELS}",
            hint=f"get the file again: it is cut short, or not {which.name}'s",
        )
    if not (targets.min() >= 0 and targets.max() < which.classes):
        raise DataError(
            f"{path} has classes from {targets.min()} to {targets.max()}",
            hint=f"this is not {which.name}'s, whose classes are 0 to {which.classes - 1}",
        )
    return images, targets


def _from_rows(which: _Cifar, content: bytes, path: Path) -> tuple[np.ndarray, np.ndarray]:
    row = which.labels_per_row + PIXELS
    if not content or len(content) % row:
        raise DataError(
            f"{path} holds {len(content)} bytes, which is not a number of pictures of {row}",
            hint=f"get the file again: it is cut short, or not {which.name}'s binary version",
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, row)
    labels = rows[:, which.labels_per_row - 1].astype(np.int64)
    return rows[:, which.labels_per_row :].copy(), labels


def _from_pickle(which: _Cifar, content: bytes, path: Path) -> tuple[np.ndarray, np.ndarray]:
    found = plain_contents(content, path)
    images, labels = (
        (found.get(b"data"), found.get(which.labels)) if isinstance(found, dict) else (None, None)
    )
    if not isinstance(images, np.ndarray) or images.ndim != 2 or images.dtype != np.uint8:
        raise DataError(
            f"{path} has no array of bytes under 'data'",
            hint=f"this is not {which.name}'s Python version",
        )
    small = range(-(2**31), 2**31)
    if not isinstance(labels, list) or not all(type(n) is int and n in small for n in labels):
        raise DataError(
            f"{path} has no list of classes under {which.labels.decode()!r}",
            hint=f"this is not {which.name}'s Python version",
        )
    return images, np.array(labels, np.int64)
