"""Data sets, and the splits that decisions and reports rest on."""

from chipmend.data.cifar import cifar10, cifar100
from chipmend.data.fashion_mnist import fashion_mnist
from chipmend.data.folders import image_folders
from chipmend.data.images import ImageSamples
from chipmend.data.splits import Splits, held_out

DATA_SETS = {
    "fashion-mnist": fashion_mnist,
    "cifar-10": cifar10,
    "cifar-100": cifar100,
    "image-folders": image_folders,
}
"""Readers by name: each takes a folder, or none to look for the data set."""

__all__ = [
    "DATA_SETS",
    "ImageSamples",
    "Splits",
    "cifar10",
    "cifar100",
    "fashion_mnist",
    "held_out",
    "image_folders",
]
