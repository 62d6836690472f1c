"""What closed-form repair knows of a network: the same for all its chips, so worked out once.

Moments and targets are kept in files by all that they depend on, and read as memory maps: workers
on one machine share one copy.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from chipmend.errors import DataError, StoreError
from chipmend.files import write_bytes
from chipmend.network.coupling import Coupling, couplings
from chipmend.network.evaluate import evaluating
from chipmend.network.gemm import gemms
from chipmend.network.grams import grams
from chipmend.network.intercepts import Intercept, intercepts
from chipmend.network.products import Products
from chipmend.network.task import Task
from chipmend.records import digest_of
from chipmend.repairs.closed_form import Inputs, Moments
from chipmend.repairs.norms import Statistics
from chipmend.repairs.one_shot import CleanLayer, clean_layers
from chipmend.repairs.sequential import Part, Target, Targets, targets
from chipmend.seeds import chip_seed
from chipmend.steps import ClosedForm, Magnitude, OneShot

logger = logging.getLogger(__name__)

BATCH = 256
FEW = 4
"""Inputs on which the network's structure is looked at."""


class Calibration:
    """What closed-form repair knows of one task, worked out on demand.

    Args:
        task: The clean network and its data.
        seed: Chooses the calibration inputs and the rows that are looked at.
        folder: Where moments and targets are kept; nowhere by default.
        conditions: What they depend on besides: versions, device, threads.
    """

    def __init__(
        self, task: Task, seed: int, *, folder: Path | None = None, conditions: Any = None
    ) -> None:
        self._task, self._seed = task, seed
        self._folder, self._conditions = folder, conditions
        self._known: dict[Any, Any] = {}

    def layers(self, form: OneShot) -> Mapping[str, CleanLayer]:
        """What one-shot compensation needs."""
        if form not in self._known:
            held = self._kept(form, lambda: _packed_layers(self._clean_layers(form)))
            self._known[form] = _unpacked_layers(held, self.intercepts)
        return self._known[form]

    def targets(self, samples: int, places: int) -> Targets:
        """What the clean network does with the calibration inputs.

        Args:
            samples: How many inputs.
            places: Rows of each matrix product that are noted.
        """
        key = samples, places
        if key not in self._known:
            held = self._kept(key, lambda: _packed_targets(self._targets(samples, places)))
            self._known[key] = _unpacked_targets(held)
        return self._known[key]

    def saliency(self, kind: Magnitude | ClosedForm) -> dict[str, Tensor]:
        """What losing each weight costs, by name; a weight that no input reaches costs nothing."""
        if kind not in self._known:
            self._known[kind] = self._saliency(kind)
        return self._known[kind]

    def _saliency(self, kind: Magnitude | ClosedForm) -> dict[str, Tensor]:
        weights = {gemm.name: gemm.weight.detach() for gemm in gemms(self._task.model)}
        if isinstance(kind, Magnitude):
            return {name: weight.abs() for name, weight in weights.items()}
        layers = self.layers(kind.moments)
        return {
            name: layers[name].saliency().view_as(weight) if name in layers else weight * 0
            for name, weight in weights.items()
        }

    def inputs(self, samples: int) -> Tensor:
        """The calibration inputs.

        Raises:
            DataError: One of them is not a finite number.
        """
        inputs = self._task.train.batch(self._task.calibration(samples, self._seed))[0]
        if inputs.is_floating_point() and not torch.isfinite(inputs).all():
            raise DataError(
                "calibration inputs that are not finite numbers",
                hint="clean the training split: it serves to calibrate",
            )
        return inputs

    @cached_property
    def intercepts(self) -> dict[str, Intercept]:
        """Where each layer's outputs can be shifted."""
        return intercepts(self._task.model, self.inputs(FEW))

    @cached_property
    def couplings(self) -> list[Coupling]:
        """Channels that can change places."""
        return couplings(self._task.model, self.inputs(FEW))

    def algebra(self, multiply_adds: int) -> float:
        """EE of some multiply-adds: a forward pass over the training split is a third of one."""
        return multiply_adds / (3 * self._multiply_adds_of_a_sample * len(self._task.train))

    @cached_property
    def _multiply_adds_of_a_sample(self) -> float:
        met: list[int] = []
        few = self.inputs(FEW)
        products = Products(gemms(self._task.model), lambda p: met.append(p.multiply_adds))
        with evaluating(self._task.model), torch.no_grad(), products:
            self._task.model(few.to(self._task.device))
        return sum(met) / len(few)

    def _clean_layers(self, form: OneShot) -> dict[str, CleanLayer]:
        model, inputs = self._task.model, self.inputs(form.samples)
        known = grams(
            model,
            inputs.split(BATCH),
            samples=len(inputs),
            places=form.places,
            seed=chip_seed(self._seed, "", "places"),
        )
        return clean_layers(model, known, self.intercepts, form.damping)

    def _targets(self, samples: int, places: int) -> Targets:
        return targets(
            self._task.model,
            self.inputs(samples),
            places=places,
            seed=chip_seed(self._seed, "", "places"),
        )

    def _kept(
        self, what: OneShot | tuple[int, int], make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Tensors from the file that keeps them, or made now and kept there."""
        if self._folder is None:
            return make()
        key = digest_of([self._task.digest(), self._seed, what, self._conditions])
        path = self._folder / f"{key}.safetensors"
        try:
            return _mapped(path)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, SafetensorError):
            logger.warning("%s is damaged: it is worked out again", path)
        made = make()
        try:
            write_bytes(path, save(made))
        except StoreError as error:
            logger.warning("%s: every worker works it out again", error.message)
            return made
        return _mapped(path)


def _mapped(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as kept:
        return {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118


def _packed_layers(layers: Mapping[str, CleanLayer]) -> dict[str, Tensor]:
    packed = {}
    for name, layer in layers.items():
        held = {"weight": layer.weight, "mean": layer.mean, "power": layer.power}
        for part in fields(layer.known):
            if (tensor := getattr(layer.known, part.name)) is not None:
                held[part.name] = tensor
        packed |= {f"{name}:{part}": tensor.contiguous() for part, tensor in held.items()}
    return packed


def _unpacked_layers(
    packed: Mapping[str, Tensor], places: Mapping[str, Intercept]
) -> dict[str, CleanLayer]:
    layers = {}
    for name, held in _by_name(packed).items():
        weight, mean, power = held.pop("weight"), held.pop("mean"), held.pop("power")
        known = Inputs(**held) if "rows" in held else Moments(**held)
        layers[name] = CleanLayer(weight, mean, known, power, places[name])
    return layers


def _packed_targets(found: Targets) -> dict[str, Tensor]:
    packed = {}
    for (name, first), target in found.parts.items():
        held = {"places": target.places, "outputs": target.outputs}
        for use, (rows, outputs) in enumerate(target.later):
            held |= {f"rows {use}": rows, f"outputs {use}": outputs}
        packed |= {f"{name} {first}:{part}": tensor.contiguous() for part, tensor in held.items()}
    for path, norm in found.norms.items():
        packed |= {f"{path}:mean": norm.mean, f"{path}:variance": norm.variance}
    return packed


def _unpacked_targets(packed: Mapping[str, Tensor]) -> Targets:
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
