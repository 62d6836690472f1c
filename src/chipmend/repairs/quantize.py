"""Quantization for one chip: a code for every weight, chosen by what its word can read.

Three forms: *naive* stores the nearest code and reads what the faults make of it; *FAQ* stores the
code that is read as the nearest number [Hanif2023]; *compensated FAQ* lets the weights that are
rounded later make up for what those before them could not be. The network stays one of real
numbers, with the weights that its codes stand for, until it is lowered to integers.

References:
    [Hanif2023] Hanif, Shafique, "FAQ: mitigating the impact of faults in the weight memory of DNN
        accelerators through fault-aware quantization", arXiv 2305.12590.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from chipmend.network.gemm import gemms
from chipmend.network.integer.codes import Codes, plain_steps
from chipmend.repairs.one_shot import CleanLayer, shift_
from chipmend.repairs.rounding import best_steps, rounded_with_compensation
from chipmend.repairs.words import Words
from chipmend.steps import FAQ, CompensatedFAQ, Naive


def quantized_(
    network: nn.Module,
    form: Naive | FAQ | CompensatedFAQ,
    words: Mapping[str, Words],
    layers: Mapping[str, CleanLayer],
    factors: Mapping[str, Float[Tensor, "blocks k k"]],
) -> tuple[dict[str, Codes], int]:
    """Choose the codes of a network's weights, and set it to what they stand for, in place.

    Args:
        network: The network; where weights are compensated they are best before those on lost PEs
            are taken away.
        form: How codes are chosen.
        words: The words of each weight, by its name.
        layers: What is known of the clean layers; needed by compensation alone, and none where no
            input reaches a layer.
        factors: Factors of their inverse moments, where they have any.

    Returns:
        The codes by name of the weight, and the multiply-adds that it took.
    """
    codes, work = {}, 0
    with torch.no_grad():
        for gemm in gemms(network):
            weight = gemm.weight.detach().flatten(1).float()
            layer = layers.get(gemm.name) if isinstance(form, CompensatedFAQ) else None
            if isinstance(form, CompensatedFAQ) and layer is not None:
                found, spent = _compensated(
                    weight, form, words[gemm.name], layer, factors.get(gemm.name)
                )
                work += spent
            else:
                found = _rounded(weight, form, words[gemm.name])
            gemm.weight.copy_(found.weight().view(gemm.weight.shape))
            if layer is not None:
                before, now = (
                    layer.outputs(w, layer.known.power(w)) for w in (weight, found.weight())
                )
                shift_(network, layer.intercept, before, now)
                work += 2 * weight.numel() * weight.shape[1]
            codes[gemm.name] = Codes(found.numbers.view(gemm.weight.shape), found.step)
    return codes, work


def _rounded(weight: Tensor, form: Naive | FAQ | CompensatedFAQ, words: Words) -> Codes:
    """Every weight by itself."""
    if isinstance(form, Naive):
        step = plain_steps(weight, words.memory.highest)
        return Codes(words.unaware(weight / step[:, None].float()), step)
    step = best_steps(weight, words, torch.ones(()), shares=form.steps_tried, turned=form.turned)
    return Codes(words.nearest(weight / step[:, None].float()), step)


def _compensated(
    weight: Tensor, form: CompensatedFAQ, words: Words, layer: CleanLayer, factor: Tensor | None
) -> tuple[Codes, int]:
    step = best_steps(
        weight, words, layer.importance(), shares=form.steps_tried, turned=form.turned
    )
    return rounded_with_compensation(
        weight, words, step, layer.known, factor, faulty_first=form.faulty_first
    )
