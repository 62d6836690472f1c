"""Data sets, and the splits that decisions and reports rest on."""

from chipmend.data.fashion_mnist import fashion_mnist
from chipmend.data.images import ImageSamples
from chipmend.data.splits import Splits, held_out

__all__ = ["ImageSamples", "Splits", "fashion_mnist", "held_out"]
