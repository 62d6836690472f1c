"""Patching: going on from the network that a chip was shipped, where new faults changed it.

Weights that the chip has lost since are made up for by the others of their outputs, around what
these were and not around the clean ones; outputs that lost nothing stay as they are. How inputs lie
is known from the clean network, as for one-shot compensation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from chipmend.errors import RepairError
from chipmend.faults.maps import FaultMap
from chipmend.network.gemm import gemms
from chipmend.network.integer.codes import Codes
from chipmend.network.integer.network import Lowering
from chipmend.recipes import retrained_epochs
from chipmend.repairs.calibration import Calibration
from chipmend.repairs.closed_form import Known, Moments, compensated, solving_for
from chipmend.repairs.computing import Moves
from chipmend.repairs.one_shot import CleanLayer, shift_
from chipmend.repairs.prune import Pruned, prune_
from chipmend.repairs.quantize import made_up_for
from chipmend.repairs.remap import Remapped, moved_with
from chipmend.repairs.words import Words
from chipmend.steps import CompensatedFAQ, Patch, Recipe

ROUNDED = CompensatedFAQ(faulty_first=True)
"""How codes are chosen where they have to be others: few are, so that the dearer way does."""


@dataclass(frozen=True, eq=False)
class Shipped:
    """What a chip was shipped, in the network's own order of channels.

    Args:
        steps: What had been done.
        faults: Digest of the fault map that it was made for.
        tensors: Parameters and buffers by name.
        codes: Weights in codes, by name; none if it is one of real numbers.
        lowering: How it is carried out in integers then.
        moved: Channels that were moved, and where they went; none if they stayed.
    """

    steps: Recipe
    faults: str
    tensors: Mapping[str, Tensor]
    codes: Mapping[str, Codes] | None = None
    lowering: Lowering | None = None
    moved: Moves | None = None

    def codes_on(self, device: torch.device) -> dict[str, Codes] | None:
        """The codes on a device."""
        if self.codes is None:
            return None
        return {
            name: Codes(held.numbers.to(device), held.step.to(device))
            for name, held in self.codes.items()
        }

    def load_(self, network: nn.Module) -> None:
        """Make a network the one that was shipped, in place.

        Raises:
            RepairError: It is another network.
        """
        held = {
            name: tensor
            for each in (network.named_parameters(), network.named_buffers())
            for name, tensor in each
        }
        shapes, shipped = (
            {n: t.shape for n, t in tensors.items()} for tensors in (held, self.tensors)
        )
        if shapes != shipped:
            raise RepairError(
                "the chip was shipped another network than the one that is to be mended",
                hint="mend the lot anew, without 'since'",
            )
        with torch.no_grad():
            for name, tensor in held.items():
                tensor.copy_(self.tensors[name])


class Patching:
    """Goes on from what one chip was shipped.

    Args:
        known: What closed-form repair knows of the network.
        faults: What is broken on the chip now.
        pruned: The weights that are lost to that as the network stands.
        shipped: What the chip was shipped; none if nothing was.
    """

    def __init__(
        self, known: Calibration, faults: FaultMap, pruned: Pruned, shipped: Shipped | None
    ) -> None:
        self._known, self._faults, self._pruned = known, faults, pruned
        self._shipped = shipped

    @property
    def shipped(self) -> Shipped:
        """What the chip was shipped.

        Raises:
            RepairError: Nothing.
        """
        if self._shipped is None:
            raise RepairError(
                "there is no network to patch: the chip was shipped none",
                hint="leave out patch, or give the bundle that it goes on from",
            )
        return self._shipped

    @cached_property
    def mapping(self) -> Remapped | None:
        """Where channels were moved to, with what is lost there now; none if they stayed."""
        if (moved := self.shipped.moved) is None:
            return None
        return Remapped(moved[1], moved_with(self._pruned, moved), 0)

    def history(self, done: Recipe) -> Recipe:
        """Every step behind a patched network: what was shipped, if nothing was done since."""
        before = self.shipped
        untouched = self.is_as_it_was and not retrained_epochs(done)
        return before.steps if untouched else (*before.steps, *done)

    def patch_(
        self, network: nn.Module, step: Patch, words: Mapping[str, Words]
    ) -> tuple[dict[str, Codes], int]:
        """Make a network the one that was shipped, patched, in place.

        Args:
            network: A copy of the clean network.
            step: How.
            words: The words of each weight now.

        Returns:
            Its codes, none if it is one of real numbers, and the multiply-adds that it took.

        Raises:
            RepairError: Nothing was shipped, or another network.
        """
        before = self.shipped
        before.load_(network)
        codes = before.codes_on(self._known.task.device)
        if self.is_as_it_was:
            return codes or {}, 0
        layers = self._known.layers(step.moments)
        if codes is None:
            pruned = self._pruned if self.mapping is None else self.mapping.pruned
            return {}, patched_(network, layers, pruned)
        factors = self._known.factors(step.moments)
        return patched_codes_(network, codes, layers, factors, words)

    @property
    def is_as_it_was(self) -> bool:
        """Whether the chip has the fault map that its network was made for."""
        return self.shipped.faults == self._faults.digest()


def patched_(network: nn.Module, layers: Mapping[str, CleanLayer], pruned: Pruned) -> int:
    """Make up for weights that were lost since a network was shipped, in place.

    Args:
        network: The network that was shipped.
        layers: What is known of the clean layers.
        pruned: Its weights on PEs that must not be used now.

    Returns:
        The multiply-adds that it took.
    """
    work, parameters = 0, dict(network.named_parameters(remove_duplicate=False))
    for name, layer in layers.items():
        weight, lost = parameters[name].detach().flatten(1), pruned[name].flatten(1)
        hit = (lost & (weight != 0)).any(1)
        if not hit.any():
            continue
        with solving_for(name):
            found = compensated(weight, lost & hit[:, None], layer.known)
        _put_(network, name, layer, found.weights, found.loss)
        work += found.multiply_adds + 2 * weight.numel() * weight.shape[1]
    prune_(network, pruned)  # also what no calibration input reaches
    return work


def patched_codes_(
    network: nn.Module,
    codes: Mapping[str, Codes],
    layers: Mapping[str, CleanLayer],
    factors: Mapping[str, Float[Tensor, "blocks k k"]],
    words: Mapping[str, Words],
) -> tuple[dict[str, Codes], int]:
    """Choose codes anew for outputs whose words read other numbers than they did, in place.

    Args:
        network: The network that was shipped, with the weights that its codes stand for.
        codes: Its codes, by name of the weight.
        layers: What is known of the clean layers.
        factors: Factors of their inverse moments, where they have any.
        words: The words of each weight now.

    Returns:
        The codes, and the multiply-adds that it took.
    """
    found, work = {}, 0
    for gemm in gemms(network):
        name, own = gemm.name, words[gemm.name]
        numbers, step = codes[name].numbers.flatten(1), codes[name].step
        read = own.nearest(numbers)
        hit, layer = (read != numbers).any(1), layers.get(name)
        found[name] = codes[name]
        if not hit.any():
            continue
        if layer is None:
            chosen = Codes(read, step)
            with torch.no_grad():
                gemm.weight.copy_(chosen.weight().view_as(gemm.weight))
        else:
            chosen, spent = _rounded_anew(Codes(numbers, step), hit, own, layer, factors.get(name))
            _put_(network, name, layer, chosen.weight(), None)
            work += spent + 2 * numbers.numel() * numbers.shape[1]
        found[name] = Codes(chosen.numbers.view(gemm.weight.shape), chosen.step)
    return found, work


def _rounded_anew(
    codes: Codes, hit: Tensor, words: Words, layer: CleanLayer, factor: Tensor | None
) -> tuple[Codes, int]:
    """Codes of one weight, those of some outputs chosen anew."""
    numbers, steps, weight, work = codes.numbers.clone(), codes.step.clone(), codes.weight(), 0
    importance = layer.importance()
    for block, outputs in _by_block(hit, len(layer.mean)):
        known = _of_block(layer.known, block)
        own = None if factor is None else factor[block : block + 1]
        here = words.of_outputs(outputs)
        best = compensated(weight[outputs], here.lost, known)  # steps have to reach these
        found, _, spent = made_up_for(best.weights, ROUNDED, here, importance[outputs], known, own)
        numbers[outputs], steps[outputs] = found.numbers.to(numbers.dtype), found.step
        work += best.multiply_adds + spent
    return Codes(numbers, steps), work


def _by_block(hit: Tensor, blocks: int) -> list[tuple[int, Int64[Tensor, " outputs"]]]:
    """The outputs that were hit, by the block of inputs that they have."""
    outputs = hit.nonzero().flatten()
    block = outputs // (len(hit) // blocks)
    return [(int(each), outputs[block == each]) for each in block.unique()]


def _of_block(known: Known, block: int) -> Known:
    """What is known of the inputs of one block."""
    if not isinstance(known, Moments):
        return known
    here = slice(block, block + 1)
    inverse = None if known.inverse is None else known.inverse[here]
    return replace(known, matrix=known.matrix[here], damping=known.damping[here], inverse=inverse)


@torch.no_grad()
def _put_(
    network: nn.Module,
    name: str,
    layer: CleanLayer,
    weight: Float[Tensor, "n k"],
    loss: Float[Tensor, " n"] | None,
) -> None:
    """Set a weight, and give its outputs the mean and spread back that they had."""
    held = network.get_parameter(name)
    before = held.detach().flatten(1).clone()
    powers = layer.power_after(before, weight, loss)
    was, now = map(layer.outputs, (before, weight), powers)
    shift_(network, layer.intercept, was, now)
    held.copy_(weight.view_as(held))
