"""Quantization for one chip: a code for every weight, chosen by what its word can read.

Four forms: *naive* stores the nearest code and reads what the faults make of it; *FAQ* stores the
code that is read as the nearest number [Hanif2023]; *compensated FAQ* lets the weights that are
rounded later make up for what those before them could not be; *sequential FAQ* does so on what the
layers before hand on once they are codes. The network stays one of real numbers, with the weights
that its codes stand for, until it is lowered to integers.

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
from chipmend.network.intercepts import Intercept
from chipmend.repairs.closed_form import Known, Moments
from chipmend.repairs.gptq import factor_of
from chipmend.repairs.one_shot import CleanLayer, shift_
from chipmend.repairs.rounding import best_steps, rounded_with_compensation
from chipmend.repairs.sequential import Targets, settled_in_stream_
from chipmend.repairs.words import Words
from chipmend.steps import FAQ, CompensatedFAQ, Naive, SequentialFAQ


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
            weight, own = gemm.weight.detach().flatten(1).float(), words[gemm.name]
            layer = layers.get(gemm.name)
            if not isinstance(form, CompensatedFAQ) or layer is None:
                found = _rounded(weight, form, own)
                gemm.weight.copy_(found.weight().view(gemm.weight.shape))
            else:
                found, loss, spent = made_up_for(
                    weight, form, own, layer.importance(), layer.known, factors.get(gemm.name)
                )
                powers = layer.power_after(weight, found.weight(), loss)
                before, now = map(layer.outputs, (weight, found.weight()), powers)
                shift_(network, layer.intercept, before, now)
                gemm.weight.copy_(found.weight().view(gemm.weight.shape))
                work += spent + 2 * weight.numel() * weight.shape[1]
            codes[gemm.name] = Codes(found.numbers.view(gemm.weight.shape), found.step)
    return codes, work


def quantized_in_stream_(
    network: nn.Module,
    form: SequentialFAQ,
    words: Mapping[str, Words],
    inputs: Tensor,
    clean: Targets,
    places: Mapping[str, Intercept],
    *,
    missed: float = 0.0,
) -> tuple[dict[str, Codes], int]:
    """Choose the codes of a clean network's weights while inputs stream through it, in place.

    Args:
        network: A copy of the clean network.
        form: How codes are chosen.
        words: The words of each weight, by its name.
        inputs: The calibration inputs, as ``targets`` had them.
        clean: What the clean network does with them.
        places: Intercepts of the weights.
        missed: Share of the weights that is expected to be lost, nobody knows which.

    Returns:
        The codes by name of the weight, and the multiply-adds that it took.

    Raises:
        RepairError: Moments are singular.
    """
    alone = FAQ(steps_tried=form.steps_tried, turned=form.turned)
    weights = {gemm.name: gemm.weight for gemm in gemms(network)}
    codes = {
        name: _rounded(weight.detach().flatten(1).float(), alone, words[name])
        for name, weight in weights.items()
    }

    def settle(name: str, outputs: slice, best: Tensor, known: Known) -> tuple[Tensor, int]:
        known = known.with_inverse()
        here, factor, work = words[name].of_outputs(outputs), None, 0
        if isinstance(known, Moments):
            assert known.inverse is not None
            factor, work = factor_of(known.inverse), 4 * known.inverse.numel() * best.shape[1] // 3
        found, _, spent = made_up_for(
            best, form, here, known.loss_alone(torch.ones_like(best)), known, factor
        )
        codes[name].numbers[outputs], codes[name].step[outputs] = found.numbers, found.step
        return found.weight(), work + spent

    work = settled_in_stream_(network, inputs, clean, settle, places, pull=form.pull, missed=missed)
    with torch.no_grad():
        for name, weight in weights.items():  # also what no calibration input reaches
            weight.copy_(codes[name].weight().view_as(weight))
    shaped = {
        name: Codes(found.numbers.view(weights[name].shape), found.step)
        for name, found in codes.items()
    }
    return shaped, work


def misread(layers: Mapping[str, CleanLayer], words: Mapping[str, Words]) -> float:
    """The damage by words with stuck bits, each of which reads the nearest number that it can.

    Args:
        layers: What is known of the clean layers; those that no input reaches are missing.
        words: The words of each weight, by its name.

    Returns:
        What each weight being off alone costs the network's outputs, summed up; weights on lost PEs
        do not count.
    """
    damage = 0.0
    for name, layer in layers.items():
        weight, own = layer.weight, words[name]
        along = plain_steps(weight, own.memory.highest)[:, None].to(weight.dtype)
        off = own.nearest(weight / along) * along - weight
        off = off.masked_fill(own.lost | (own.patterns == 0), 0)
        damage += float((layer.known.loss_alone(off) * layer.stake[:, None]).sum())
    return damage


def _rounded(weight: Tensor, form: Naive | FAQ | CompensatedFAQ, words: Words) -> Codes:
    """Every weight by itself."""
    if isinstance(form, Naive):
        step = plain_steps(weight, words.memory.highest)
        return Codes(words.unaware(weight / step[:, None].float()), step)
    step = best_steps(weight, words, torch.ones(()), shares=form.steps_tried, turned=form.turned)
    return Codes(words.nearest(weight / step[:, None].float()), step)


def made_up_for(
    best: Tensor,
    form: CompensatedFAQ | SequentialFAQ,
    words: Words,
    importance: Tensor,
    known: Known,
    factor: Tensor | None,
) -> tuple[Codes, Tensor | None, int]:
    """Codes of weights that make up for one another, with the best steps of those tried.

    Args:
        best: The best weights if none had to be rounded.
        form: How codes are chosen.
        words: Their words.
        importance: What a squared error of each weight costs.
        known: What is known of the inputs.
        factor: As for ``rounded_with_compensation``, whose results these are.
    """
    step = best_steps(best, words, importance, shares=form.steps_tried, turned=form.turned)
    return rounded_with_compensation(
        best,
        words,
        step,
        known,
        factor,
        faulty_first=form.faulty_first,
        hold=form.hold if isinstance(form, CompensatedFAQ) else 0.0,
    )
