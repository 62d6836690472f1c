"""Fashion-MNIST: 60,000 + 10,000 pictures of clothing, 28 x 28 pixels, ten classes.

Looked for in a folder that the user names, in the folder of Debian's package
``dataset-fashion-mnist``, in the user's cache, and then fetched: from that Debian package, which
needs no root, or from the data set's public download.

References:
    [Xiao2017] Xiao, Rasul, Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking
        machine learning algorithms", arXiv 1708.07747.
"""

import gzip
import hashlib
import logging
import urllib.request
import zlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch

from chipmend.data.debian import unpacked_package
from chipmend.data.idx import parse_idx, unpacked
from chipmend.data.images import ImageSamples
from chipmend.data.splits import Splits, held_out
from chipmend.errors import DataError
from chipmend.files import cache_folder, write_bytes

DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
PUBLIC_DOWNLOAD = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
VALIDATION_SAMPLES = 5000
MEAN, STD = 0.2860, 0.3530  # of the training pixels, as a fraction of 255

# SHA-256 of the unpacked files, so that it does not matter who gzipped them.
DIGESTS = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}

logger = logging.getLogger(__name__)


def fashion_mnist(path: str | Path | None = None) -> Splits:
    """Read Fashion-MNIST, padded to 32 x 32, with 5,000 training images held out to validate.

    Args:
        path: Folder with the four IDX files, plain or gzipped; without one it is looked for.

    Returns:
        55,000 training, 5,000 validation and 10,000 test images.

    Raises:
        DataError: The files are not to be had, or one of them is damaged.
    """
    folder = Path(path) if path is not None else find_fashion_mnist()
    whole = _samples(folder, "train")
    train, validation = held_out(len(whole), VALIDATION_SAMPLES)
    return Splits(whole.subset(train), whole.subset(validation), _samples(folder, "t10k"))


def find_fashion_mnist() -> Path:
    """Give the folder that holds the four files, after fetching them if need be.

    Raises:
        DataError: Every place was tried in vain; says what each one answered.
    """
    cache = cache_folder("fashion-mnist")
    for folder in (DEBIAN_FOLDER, cache):
        if all(_file(folder, name) for name in DIGESTS):
            return folder
    answers = []
    for source in (_from_debian, _from_public_download):
        try:
            _fill(cache, source)
        except DataError as error:
            answers.append(error.message)
        else:
            return cache
    raise DataError(
        "Fashion-MNIST is not on this machine and could not be fetched: " + "; ".join(answers),
        hint=f"install Debian's {DEBIAN_PACKAGE}, or give the folder of its four IDX files",
    )


def _samples(folder: Path, prefix: str) -> ImageSamples:
    images, labels = (
        _array(folder, f"{prefix}-{kind}") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    return ImageSamples(
        torch.from_numpy(images[:, None].copy()),
        torch.from_numpy(labels.astype(np.int64)),
        (MEAN,),
        (STD,),
        padding=2,
    )


def _array(folder: Path, name: str) -> np.ndarray:
    path = _file(folder, name)
    if path is None:
        raise DataError(
            f"there is no {name} or {name}.gz in {folder}",
            hint="give the folder that holds the four IDX files of Fashion-MNIST",
        )
    content = unpacked(path)
    _verify(content, name, str(path))
    return parse_idx(content, path)


def _file(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)


def _verify(content: bytes, name: str, where: str) -> None:
    if hashlib.sha256(content).hexdigest() != DIGESTS[name]:
        raise DataError(
            f"{where} is damaged: its checksum is not that of Fashion-MNIST's {name}",
            hint=f"delete it if it lies in chipmend's cache ({cache_folder('fashion-mnist')}), "
            "where it is fetched again; elsewhere put a sound copy in its place",
        )


def _fill(cache: Path, source: Callable[[], dict[str, bytes]]) -> None:
    """Fetch all four files, and write them into the cache only once all are found sound."""
    files = source()
    for name, content in files.items():
        _verify(content, name, f"the fetched {name}")
    for name, content in files.items():
        write_bytes(cache / f"{name}.gz", gzip.compress(content, compresslevel=1, mtime=0))


def _from_debian() -> dict[str, bytes]:
    logger.info("fetching Debian's package %s", DEBIAN_PACKAGE)
    with unpacked_package(DEBIAN_PACKAGE) as root:
        folder = root / DEBIAN_FOLDER.relative_to("/")
        return {name: unpacked(folder / f"{name}.gz") for name in DIGESTS}


def _from_public_download() -> dict[str, bytes]:
    logger.info("fetching %s", PUBLIC_DOWNLOAD)
    return {name: _download(f"{name}.gz") for name in DIGESTS}


def _download(name: str) -> bytes:
    try:
        with urllib.request.urlopen(PUBLIC_DOWNLOAD + name, timeout=60) as answer:  # noqa: S310
            return gzip.decompress(answer.read())
    except (OSError, EOFError, zlib.error, HTTPException) as error:
        raise DataError(f"cannot download {PUBLIC_DOWNLOAD}{name}: {error}") from error
