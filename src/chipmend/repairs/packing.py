"""What closed-form repair knows of a network as named tensors, and back."""

from collections.abc import Mapping
from dataclasses import fields

from torch import Tensor

from chipmend.network.intercepts import Intercept
from chipmend.repairs.closed_form import Inputs, Moments
from chipmend.repairs.norms import Statistics
from chipmend.repairs.one_shot import CleanLayer
from chipmend.repairs.sequential import Part, Target, Targets


def packed_layers(layers: Mapping[str, CleanLayer]) -> dict[str, Tensor]:
    """Clean layers as tensors, by names that tell the weight and the part."""
    packed = {}
    for name, layer in layers.items():
        held = {part: getattr(layer, part) for part in ("weight", "mean", "power", "stake")}
        for part in fields(layer.known):
            if (tensor := getattr(layer.known, part.name)) is not None:
                held[part.name] = tensor
        packed |= {f"{name}:{part}": tensor.contiguous() for part, tensor in held.items()}
    return packed


def unpacked_layers(
    packed: Mapping[str, Tensor], places: Mapping[str, Intercept]
) -> dict[str, CleanLayer]:
    """Clean layers from their tensors."""
    layers = {}
    for name, held in _by_name(packed).items():
        own = {part: held.pop(part) for part in ("weight", "mean", "power", "stake")}
        known = Inputs(**held) if "rows" in held else Moments(**held)
        layers[name] = CleanLayer(**own, known=known, intercept=places[name])
    return layers


def packed_targets(found: Targets) -> dict[str, Tensor]:
    """Targets as tensors, by names that tell the part of the weight, or the norm."""
    packed = {}
    for (name, first), target in found.parts.items():
        held = {"places": target.places, "outputs": target.outputs}
        for use, (rows, outputs) in enumerate(target.later):
            held |= {f"rows {use}": rows, f"outputs {use}": outputs}
        packed |= {f"{name} {first}:{part}": tensor.contiguous() for part, tensor in held.items()}
    for path, norm in found.norms.items():
        packed |= {f"{path}:mean": norm.mean, f"{path}:variance": norm.variance}
    return packed


def unpacked_targets(packed: Mapping[str, Tensor]) -> Targets:
    """Targets from their tensors."""
    parts: dict[Part, Target] = {}
    norms = {}
    for key, held in _by_name(packed).items():
        if "variance" in held:
            norms[key] = Statistics(**held)
            continue
        name, _, first = key.rpartition(" ")
        uses = range((len(held) - 2) // 2)
        later = [(held[f"rows {use}"], held[f"outputs {use}"]) for use in uses]
        parts[name, int(first)] = Target(held["places"], held["outputs"], later)
    return Targets(parts, norms)


def _by_name(packed: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    held: dict[str, dict[str, Tensor]] = {}
    for key, tensor in packed.items():
        name, _, part = key.rpartition(":")
        held.setdefault(name, {})[part] = tensor
    return held
