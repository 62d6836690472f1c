"""Maps of vulnerability: by layer, bit and class of neurons, estimated and by injection."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from chipmend.protect.design.subject import Subject
from chipmend.protect.vulnerability.injection import injected
from chipmend.protect.vulnerability.layers import layers_of
from chipmend.protect.vulnerability.slopes import Batch, Loss
from chipmend.seeds import chip_seed

IMPORTANT = 0.05
"""The share of a layer's neurons that is called important in maps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMap:
    """How vulnerable a layer is, bit by bit.

    Args:
        layer: Name of its weight.
        neurons: How many neurons it has.
        passes: Pieces that each sum has.
        width: Bits that its widest sum of a pass needs.
        ordinary: Mean change of a sample's loss if a bit of an ordinary neuron flips once, the
            lowest bit first; empty if the layer has but one neuron.
        important: The same of the layer's most vulnerable neurons.
        ordinary_injected: The first as injection has it; empty where that was not measured.
        important_injected: The second as injection has it.
    """

    layer: str
    neurons: int
    passes: int
    width: int
    ordinary: tuple[float, ...]
    important: tuple[float, ...]
    ordinary_injected: tuple[float, ...] = ()
    important_injected: tuple[float, ...] = ()


def layer_maps(
    subject: Subject, batches: Iterable[Batch], loss: Loss, *, neurons: int, each: int, seed: int
) -> list[LayerMap]:
    """Map the layers of a network.

    Args:
        subject: The network on its array.
        batches: Samples for injection.
        loss: The mean loss of outputs and targets.
        neurons: How many neurons of each class and layer are injected.
        each: How many of their bits are flipped for a sample.
        seed: Chooses neurons.
    """
    samples, found = list(batches), list[LayerMap]()
    for known, layer in zip(subject.layers, layers_of(subject.network), strict=True):
        change = known.change.reshape(-1, known.change.shape[2])
        order = np.argsort(-change.mean(1), kind="stable")
        count = max(1, round(IMPORTANT * len(order)))
        classes = {"important": order[:count], "ordinary": order[count:]}
        rng = np.random.default_rng(chip_seed(seed, known.name, "maps"))
        maps = {
            n: tuple(change[some].mean(0).tolist()) if len(some) else ()
            for n, some in classes.items()
        }
        for name, these in classes.items():
            some = rng.choice(these, min(neurons, len(these)), replace=False)
            places = [divmod(int(at), known.change.shape[1]) for at in some]
            maps[f"{name}_injected"] = ()
            if places and samples:
                hit = injected(
                    subject.network,
                    layer,
                    places,
                    samples,
                    loss,
                    array=subject.array,
                    seed=seed,
                    each=each,
                )
                maps[f"{name}_injected"] = tuple(hit.nanmean((0, 2)).tolist())
        found.append(
            LayerMap(
                layer=known.name,
                neurons=len(order),
                passes=known.passes,
                width=int(known.widths.max()),
                **maps,
            )
        )
    return found
