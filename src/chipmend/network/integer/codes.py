"""Weights in whole numbers, as the words of a memory hold them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

LARGEST_WEIGHT = 128
"""No code of at most 8 bits stands for a larger magnitude."""


@dataclass(frozen=True, eq=False)
class Codes:
    """A weight in whole numbers.

    Args:
        numbers: What the words of the memory read, 0 where the PE is lost; in single precision.
        step: What one is worth, for every output; a negative one turns the output round.
    """

    numbers: Float[Tensor, "outputs ..."]
    step: Float64[Tensor, " outputs"]

    @classmethod
    def nearest(cls, weight: Tensor, highest: int = 127) -> "Codes":
        """A weight rounded with plain steps, halves up.

        Args:
            weight: Real numbers, ``outputs x ...``.
            highest: The highest number whose negative has a code as well.

        Example:
            >>> codes = Codes.nearest(torch.tensor([[0.5, -2.0], [0.0, 0.0]]))
            >>> codes.numbers.tolist()
            [[32.0, -127.0], [0.0, 0.0]]
        """
        step = plain_steps(weight, highest)
        along = step.view(-1, *[1] * (weight.dim() - 1))
        return cls((weight.detach().double() / along + 0.5).floor().float(), step)

    def weight(self) -> Float[Tensor, "outputs ..."]:
        """The real numbers that they stand for, in single precision."""
        return (self.numbers * self._along()).float()

    def _along(self) -> Tensor:
        return self.step.view(-1, *[1] * (self.numbers.dim() - 1))


def plain_steps(weight: Tensor, highest: int) -> Float64[Tensor, " outputs"]:
    """Steps with which each output's largest magnitude is the highest number; 1 where all are 0."""
    most = weight.detach().flatten(1).abs().amax(1).double()
    return torch.where(most > 0, most / highest, 1.0)
