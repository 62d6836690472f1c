"""CIFAR-10 in its binary version: 50,000 + 10,000 pictures of 32 x 32 pixels in ten classes.

References:
    [Krizhevsky2009] Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

from pathlib import Path

import numpy as np
import torch

from chipmend.data.images import ImageSamples
from chipmend.data.splits import Splits, held_out
from chipmend.errors import DataError

TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILES = ("test_batch.bin",)
PICTURE = (3, 32, 32)
PICTURES_PER_FILE = 10_000
CLASSES = 10
HELD_OUT_SHARE = 10  # one training picture in ten validates
MEAN = (0.4914, 0.4822, 0.4465)  # of the training pixels, as a fraction of 255
STD = (0.2470, 0.2435, 0.2616)


def cifar10(path: str | Path | None = None) -> Splits:
    """Read CIFAR-10, with a tenth of the training pictures held out to validate.

    Args:
        path: Folder of the binary version: ``data_batch_1.bin`` to ``data_batch_5.bin`` and
            ``test_batch.bin``.

    Returns:
        45,000 training, 5,000 validation and 10,000 test pictures.

    Raises:
        DataError: No folder, or a file is missing or not of the format.
    """
    if path is None:
        raise DataError(
            "CIFAR-10 has no place of its own on a machine",
            hint="give the folder of its binary version (data.path in a plan)",
        )
    whole = _samples(Path(path), TRAIN_FILES)
    train, validation = held_out(len(whole), len(whole) // HELD_OUT_SHARE)
    return Splits(whole.subset(train), whole.subset(validation), _samples(Path(path), TEST_FILES))


def _samples(folder: Path, names: tuple[str, ...]) -> ImageSamples:
    rows = np.concatenate([_rows(folder / name) for name in names])
    return ImageSamples(
        torch.from_numpy(rows[:, 1:].reshape(-1, *PICTURE).copy()),
        torch.from_numpy(rows[:, 0].astype(np.int64)),
        MEAN,
        STD,
    )


def _rows(path: Path) -> np.ndarray:
    """One row per picture: its class, then its red, green and blue pixels."""
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}",
            hint="give the folder of CIFAR-10's binary version",
        ) from error
    size = 1 + int(np.prod(PICTURE))
    if len(content) != PICTURES_PER_FILE * size:
        raise DataError(
            f"{path} holds {len(content)} bytes, not {PICTURES_PER_FILE} pictures of {size}",
            hint="get the file again: it is cut short, or not the binary version",
        )
    rows = content.reshape(-1, size)
    if rows[:, 0].max() >= CLASSES:
        raise DataError(
            f"{path} has a class of {rows[:, 0].max()}",
            hint="this is not CIFAR-10's binary version",
        )
    return rows
