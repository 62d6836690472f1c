"""Codes in training: what words read goes forward, what is behind it is trained (straight-through).

Rounding has no slope, so gradients are taken as if it were not there [Bengio2013]: the weights that
are trained may lie between the numbers that their words can read, and the network computes with the
nearest ones, or with what a chip reads that stores the nearest code unaware of its faults.

References:
    [Bengio2013] Bengio, Leonard, Courville, "Estimating or propagating gradients through stochastic
        neurons for conditional computation", arXiv 1308.3432.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from chipmend.network.integer.codes import Codes
from chipmend.repairs.words import Weight, Words


@dataclass(frozen=True, eq=False)
class Coding:
    """What the words of a chip make of a network's weights, with steps that stay.

    Args:
        words: The words of each weight, by its name.
        codes: Codes that were chosen; their steps are kept.
        read: What words make of the numbers wanted of them: the nearest that they can read, or what
            their stuck bits leave of the nearest code (``Words.unaware``).
    """

    words: Mapping[str, Words]
    codes: Mapping[str, Codes]
    read: Callable[[Words, Weight], Weight] = Words.nearest

    @torch.no_grad()
    def round_(self, network: nn.Module) -> None:
        """Set weights to the nearest numbers that their words can read, in place."""
        for name, weight in self._weights(network):
            weight.copy_(self._rounded(name, weight))

    @contextmanager
    def straight_through(self, network: nn.Module) -> Iterator[None]:
        """While inside, the network computes with rounded weights; then they are as before."""
        kept = {name: weight.detach().clone() for name, weight in self._weights(network)}
        self.round_(network)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, weight in self._weights(network):
                    weight.copy_(kept[name])

    def codes_of(self, network: nn.Module) -> dict[str, Codes]:
        """The codes of a network whose weights are rounded."""
        return {
            name: replace(self.codes[name], numbers=self._numbers(name, weight))
            for name, weight in self._weights(network)
        }

    def _rounded(self, name: str, weight: Tensor) -> Tensor:
        return replace(self.codes[name], numbers=self._numbers(name, weight)).weight()

    def _numbers(self, name: str, weight: Tensor) -> Tensor:
        step = self.codes[name].step.to(torch.float32)[:, None]
        found = self.read(self.words[name], weight.detach().flatten(1).float() / step)
        return found.view(weight.shape)

    def _weights(self, network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
        parameters = dict(network.named_parameters(remove_duplicate=False))
        return ((name, parameters[name]) for name in self.codes)
