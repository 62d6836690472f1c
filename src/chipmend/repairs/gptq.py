"""Rounding one input after the other, each error made up for by the weights not yet rounded (GPTQ).

Around its optimum the error of an output is ``1/2 (x - w)^T H (x - w)``. Rounding one weight moves
the best values of those that are left by ``-(w_i - q_i) / Hinv_ii Hinv_i,``, where ``Hinv`` is that
of the weights left; its rows are those of one Cholesky factor of the whole inverse, which all
outputs share [Frantar2023]. What a weight may be rounded to is the caller's affair: the numbers
that its word can read, or zero where its PE is lost.

References:
    [Frantar2023] Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ: accurate post-training quantization
        for generative pre-trained transformers", ICLR 2023.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

BLOCK = 32
"""Inputs that are rounded before their errors go to all inputs after them, in one product."""

Round = Callable[[int, Tensor], Tensor]
"""What the weights of one input, ``blocks x n``, become; the input is given by its number."""


def factor_of(inverse: Float[Tensor, "blocks k k"]) -> Float[Tensor, "blocks k k"]:
    """The upper factor ``U`` of ``Hinv = U^T U``, the same for all chips of a network.

    Args:
        inverse: Inverse damped second moments.

    Returns:
        The factor, with a positive diagonal.
    """
    return torch.linalg.cholesky(inverse, upper=True)


def rounded_in_turn(
    optimum: Float[Tensor, "n k"], factor: Float[Tensor, "blocks k k"], to: Round
) -> tuple[Float[Tensor, "n k"], Float[Tensor, " n"], int]:
    """Round weights input by input, in their order.

    Args:
        optimum: The best weights if none had to be rounded.
        factor: What ``factor_of`` gives, for every group of outputs that has inputs of its own.
        to: What the weights of one input become.

    Returns:
        The rounded weights, what that costs each output in units of half its mean squared error,
        and the multiply-adds that it took.
    """
    blocks, k, _ = factor.shape
    left = optimum.unflatten(0, (blocks, -1)).mT.contiguous()  # inputs first: a row for each
    rounded, loss = torch.empty_like(left), torch.zeros_like(left[:, 0])
    for first in range(0, k, BLOCK):
        end = min(first + BLOCK, k)
        errors = torch.empty_like(left[:, first:end])
        for at in range(first, end):
            row, wanted, error = factor[:, at], left[:, at], errors[:, at - first]
            rounded[:, at] = to(at, wanted)
            torch.sub(wanted, rounded[:, at], out=error).div_(row[:, at, None])
            left[:, at + 1 : end].addcmul_(row[:, at + 1 : end, None], error[:, None], value=-1)
        left[:, end:].baddbmm_(factor[:, first:end, end:].mT, errors, alpha=-1)
        loss += errors.square().sum(1) / 2
    return rounded.mT.contiguous().view(optimum.shape), loss.flatten(), optimum.numel() * k // 2
