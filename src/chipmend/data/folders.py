"""Pictures in folders, one folder per class, as ImageNet comes: read when they are asked for.

Every picture is scaled until its shorter side has a given length; a square is cut from its middle.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from chipmend.data.images import normalized
from chipmend.data.splits import Splits, held_out
from chipmend.errors import DataError
from chipmend.extras import imported

ENDINGS = {".jpeg", ".jpg", ".png"}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE, SHORTER_SIDE = 224, 256
HELD_OUT_SHARE, MOST_HELD_OUT = 10, 50_000
HEAD = 4096
"""Bytes of a file that its digest is made of."""


@dataclass(frozen=True, eq=False)
class PictureFiles:
    """Labelled pictures in files.

    Args:
        paths: The files.
        targets: ``samples`` class indices.
        size: Side of the squares, in pixels.
        shorter_side: Length of the shorter side that pictures are scaled to first.
    """

    paths: Sequence[Path]
    targets: Int64[Tensor, " samples"]
    size: int = SIZE
    shorter_side: int = SHORTER_SIDE

    def __len__(self) -> int:
        return len(self.paths)

    def batch(self, indices: Int64[Tensor, " samples"]) -> tuple[Tensor, Tensor]:
        """Normalised float32 inputs and class indices of the pictures at ``indices``."""
        asked = [self.paths[index] for index in indices.tolist()]
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            pictures = list(threads.map(self._square, asked))
        pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
        return normalized(pixels, MEAN, STD), self.targets[indices]

    def digest(self) -> str:
        """Hex digest of names, lengths, beginnings and classes: whole files are too much."""
        digest = hashlib.sha256(f"{self.size} {self.shorter_side}".encode())
        for path, target in zip(self.paths, self.targets.tolist(), strict=True):
            digest.update(f"{path.name} {path.stat().st_size} {target}\n".encode())
            with path.open("rb") as file:
                digest.update(file.read(HEAD))
        return digest.hexdigest()

    def subset(self, indices: Int64[Tensor, " samples"]) -> "PictureFiles":
        """The same kind of samples, only those at ``indices``."""
        chosen = [self.paths[index] for index in indices.tolist()]
        return PictureFiles(chosen, self.targets[indices], self.size, self.shorter_side)

    def _square(self, path: Path) -> np.ndarray:
        """``size x size x 3`` bytes."""
        image = _pillow()
        try:
            with image.open(path) as opened:
                deep = opened.mode[0] in "IF"
                picture = opened.convert("RGB")
        except Exception as error:  # a damaged picture may raise anything
            raise DataError(
                f"cannot read the picture {path}: {error}", hint="get it again, or take it away"
            ) from error
        if deep:
            raise DataError(f"{path} has more than 8 bits per channel", hint="convert it to 8 bits")
        scale = self.shorter_side / min(picture.size)
        width, height = (max(self.size, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), image.Resampling.BILINEAR)
        left, top = (width - self.size) // 2, (height - self.size) // 2
        return np.asarray(picture.crop((left, top, left + self.size, top + self.size)))


def image_folders(
    path: str | Path | None = None, *, size: int = SIZE, shorter_side: int = SHORTER_SIDE
) -> Splits:
    """Read pictures in folders, with a tenth of the training pictures, or 50,000, held out.

    Args:
        path: A folder with ``train`` and ``val``, and in each a folder per class with its pictures.
            Those in ``val`` are never seen by any decision: they are the test split.
        size: Side of the squares that go into the network, in pixels.
        shorter_side: Length of the shorter side that pictures are scaled to before.

    Returns:
        The splits; pictures are read when they are asked for.

    Raises:
        DataError: No such folder, a split without pictures, or classes that differ.
        MissingExtraError: Pillow is not installed.
    """
    if path is None:
        raise DataError(
            "pictures in folders have no place of their own on a machine",
            hint="give the folder that has 'train' and 'val' (data.path in a plan)",
        )
    if not 1 <= size <= shorter_side:
        raise DataError(
            f"squares of {size} pixels cannot be cut from pictures scaled to {shorter_side}",
            hint="give a size of 1 or more, and a shorter side that is no less",
        )
    _pillow()
    classes = _classes(Path(path) / "train")
    if (others := _classes(Path(path) / "val")) != classes:
        odd = sorted({*classes} ^ {*others})
        raise DataError(
            f"train and val in {path} do not have the same classes: {', '.join(odd[:5])}",
            hint="give each class a folder of the same name in both",
        )
    whole, test = (
        _pictures(Path(path) / split, classes, size, shorter_side) for split in ("train", "val")
    )
    held = min(max(1, len(whole) // HELD_OUT_SHARE), MOST_HELD_OUT)
    train, validation = held_out(len(whole), held)
    return Splits(whole.subset(train), whole.subset(validation), test)


def _classes(folder: Path) -> list[str]:
    """Names of the classes in order; their places are the class indices."""
    try:
        entries = [entry for entry in folder.iterdir() if entry.is_dir()]
        return sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"cannot read {folder}: {error.strerror or error}",
            hint="give the folder that has 'train' and 'val', and in each a folder per class",
        ) from error


def _pictures(folder: Path, classes: Sequence[str], size: int, shorter_side: int) -> PictureFiles:
    found: list[tuple[Path, int]] = []
    for index, name in enumerate(classes):
        files = sorted(p for p in (folder / name).iterdir() if p.suffix.lower() in ENDINGS)
        if not files:
            raise DataError(
                f"there is no picture in {folder / name}",
                hint=f"put pictures there ({', '.join(sorted(ENDINGS))}), or take the folder away",
            )
        found += [(path, index) for path in files]
    if not found:
        raise DataError(f"there is no class in {folder}", hint="put a folder per class there")
    targets = torch.tensor([index for _, index in found])
    return PictureFiles([path for path, _ in found], targets, size, shorter_side)


def _pillow() -> Any:
    return imported("PIL.Image", extra="images")
