"""Fault-aware training (FAT): train on with the pruned weights held at zero.

The default schedule is *anytime*: a constant learning rate whose iterates are averaged as they
come, so that stopping after half an epoch and passing half an epoch on the way to a whole one give
the same network. One trajectory then serves every amount.

References:
    [Zhang2018] Zhang, Gu, Basu, Garg, "Analyzing and mitigating the impact of permanent faults on
        a systolic array based neural network accelerator", VTS 2018 (FAP+T).
    [Shamir2013] Shamir, Zhang, "Stochastic gradient descent for non-smooth optimization", ICML
        2013 (polynomial-decay averaging).
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_map_only

from chipmend.errors import RepairError
from chipmend.network.evaluate import device_of, keeping_modes
from chipmend.network.precision import training_precision
from chipmend.network.samples import Samples
from chipmend.network.task import Loss
from chipmend.repairs.coding import Coding
from chipmend.repairs.prune import Pruned, prune_
from chipmend.seeds import chip_seed
from chipmend.steps import Anytime, Retrain

MISSED_TIMES, MISSED_MOST = 4.0, 0.1
"""Training loses so many times what is expected to be missed, but not more than such a share: the
few chips that miss most decide whether a constraint holds for nearly all."""
FIRST_UNHARMED, UNHARMED_EVERY = 16, 8
"""Steps of such a training that lose nothing, so that norms learn their statistics from them."""
LONGEST_GRADIENT = 1.0
"""Longer gradients are shortened in such a training: norms with fixed statistics hold no layer's
outputs in bounds."""


def lost_in_training(missed: float) -> float:
    """Share of the weights that training loses where a share is expected to be missed.

    Example:
        >>> [round(lost_in_training(missed), 9) for missed in (0.0, 0.01, 0.05, 0.3)]
        [0.0, 0.04, 0.1, 0.3]
    """
    return max(missed, min(MISSED_TIMES * missed, MISSED_MOST))


class HeldAtZero:
    """Holds pruned weights at zero, whatever an optimizer does to them.

    Args:
        model: The network; its pruned weights are zeroed at once.
        pruned: Which weights.
    """

    def __init__(self, model: nn.Module, pruned: Pruned) -> None:
        prune_(model, pruned)
        parameters = dict(model.named_parameters(remove_duplicate=False))
        self._held = [(parameters[n], _kept(parameters[n], zero)) for n, zero in pruned.items()]

    @contextmanager
    def losing_more(self, share: float, seed: int) -> Iterator[None]:
        """Lose some of the other weights as well, for a pass to and fro; then they are back.

        Args:
            share: How likely each of them is lost.
            seed: Chooses them.
        """
        generator = torch.Generator().manual_seed(seed)
        kept = [torch.rand(weight.shape, generator=generator) >= share for weight, _ in self._held]
        whole = [weight.detach().clone() for weight, _ in self._held]
        with torch.no_grad():
            for (weight, _), held in zip(self._held, kept, strict=True):
                weight.mul_(held.to(weight.device))
        try:
            yield
        finally:
            with torch.no_grad():
                for (weight, _), held, before in zip(self._held, kept, whole, strict=True):
                    weight.copy_(before)
                    if weight.grad is not None:
                        weight.grad.mul_(held.to(weight.device))

    @torch.no_grad()
    def enforce_(self) -> None:
        """Zero the pruned weights again; costs one multiplication per weight."""
        for weight, kept in self._held:
            weight.mul_(kept)


def _kept(weight: Tensor, zero: Tensor) -> Tensor:
    """One where a weight stays, zero where not; laid out in memory like the weight itself."""
    return torch.ones_like(weight).masked_fill_(zero.to(weight.device), 0.0)


class Retraining:
    """One trajectory of fault-aware training, which only goes forward.

    Args:
        model: The network to start from; it is trained in place.
        pruned: Weights to hold at zero.
        train: The training split.
        loss: What to minimise.
        settings: Rates and schedule; ``settings.epochs`` is the amount that a decaying schedule
            is made for.
        seed: Of the order of the samples, and of what layers such as dropout draw.
        coding: What the words of the chip make of its weights, if it is retrained with codes: the
            passes to and fro see that, the optimizer changes what is behind it.
        losing: Share of the other weights that most steps lose as well, each step others and more
            or less, up to twice as many; none where weights are codes.
    """

    def __init__(
        self,
        model: nn.Module,
        pruned: Pruned,
        train: Samples,
        *,
        loss: Loss,
        settings: Retrain,
        seed: int,
        coding: Coding | None = None,
        losing: float = 0.0,
    ) -> None:
        self.model, self.coding = model, coding
        self.steps = 0
        self.seconds = 0.0
        self._train, self._loss, self._settings = train, loss, settings
        self._device, self._seed = device_of(model), seed
        self._zeros = HeldAtZero(model, pruned)
        self._losing = losing if coding is None else 0.0
        self._norms = [m for m in model.modules() if isinstance(m, _NormBase)]
        self._order = _Order(len(train), settings.batch, seed)
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        if not self._parameters:
            raise RepairError(
                "every parameter of the network is frozen, so it cannot be retrained",
                hint="set requires_grad on what may be trained",
            )
        self._average = [p.detach().clone() for p in self._parameters]
        self._optimizer = torch.optim.SGD(
            self._parameters,
            settings.learning_rate,
            momentum=0.9,
            weight_decay=settings.weight_decay,
            nesterov=True,
            foreach=True,
        )

    @property
    def epochs(self) -> float:
        """Epochs trained so far, as actually run: a whole number of steps."""
        return self.steps * self._order.batch / len(self._train)

    def advance(self, epochs: float, tick: Callable[[float], object] = lambda _: None) -> None:
        """Train on until ``epochs`` in all.

        Args:
            epochs: Amount since the start of the trajectory; not less than what is behind it.
            tick: Called now and then with the epochs trained so far.

        Raises:
            RepairError: A weight is no longer a finite number.
        """
        last = self.steps_of(epochs)
        assert last >= self.steps, "a trajectory only goes forward"
        started = time.perf_counter()
        with keeping_modes(self.model), self._own_randomness(), torch.enable_grad():
            self.model.train()
            while self.steps < last:
                torch.manual_seed(chip_seed(self._seed, str(self.steps), "dropout"))
                self._step(*self._train.batch(self._order.at(self.steps)))
                if self.steps % 16 == 0:
                    tick(self.epochs)
        self.seconds += time.perf_counter() - started
        self._check_sound()

    def steps_of(self, epochs: float) -> int:
        """Steps nearest to an amount, at least one."""
        return max(1, round(epochs * len(self._train) / self._order.batch))

    def network(self) -> nn.Module:
        """The network that the trajectory stands for now; its norm statistics are stale."""
        network = copy.deepcopy(self.model)
        if isinstance(self._settings.schedule, Anytime):
            trained = [p for p in network.parameters() if p.requires_grad]
            with torch.no_grad():
                for parameter, average in zip(trained, self._average, strict=True):
                    parameter.copy_(average)
        if self.coding is not None:
            self.coding.round_(network)
        return network

    def _own_randomness(self) -> AbstractContextManager[None]:
        """Layers such as dropout draw from torch's global stream: it is given back as it was."""
        return torch.random.fork_rng([self._device] if self._device.type == "cuda" else [])

    def _step(self, inputs: Tensor, targets: Tensor) -> None:
        inputs, targets = tree_map_only(Tensor, lambda t: t.to(self._device), (inputs, targets))
        self._optimizer.param_groups[0]["lr"] = self._rate()
        self._optimizer.zero_grad(set_to_none=True)
        with self._as_on_chip():
            with training_precision(inputs.device.type):
                loss = self._loss(self.model(inputs), targets)
            loss.backward()
        if self._losing:
            nn.utils.clip_grad_norm_(self._parameters, LONGEST_GRADIENT)
        self._optimizer.step()
        self._zeros.enforce_()
        self.steps += 1
        if isinstance(self._settings.schedule, Anytime):
            self._average_in(self._settings.schedule.averaging)

    def _as_on_chip(self) -> AbstractContextManager[None]:
        """The network as passes to and fro see it.

        Where weights are lost, norms go by their statistics, as they do on the chip: those of the
        batch would make up for much of it.
        """
        if self.coding is not None:
            return self.coding.straight_through(self.model)
        if not self._losing:
            return nullcontext()
        harmed = self.steps >= FIRST_UNHARMED and self.steps % UNHARMED_EVERY != 0
        for norm in self._norms:
            norm.train(not harmed)
        if not harmed:
            return nullcontext()
        which, many = (chip_seed(self._seed, str(self.steps), of) for of in ("missed", "how many"))
        share = float(torch.rand((), generator=torch.Generator().manual_seed(many)))
        return self._zeros.losing_more(share * min(1.0, 2 * self._losing), which)

    def _check_sound(self) -> None:
        if not all(bool(torch.isfinite(p).all()) for p in self._parameters):
            raise RepairError(
                f"retraining diverged within {self.epochs:.3g} epochs at a learning rate of "
                f"{self._settings.learning_rate:g}",
                hint="lower the learning rate",
            )

    def _rate(self) -> float:
        if isinstance(self._settings.schedule, Anytime):
            return self._settings.learning_rate
        share = self.steps / self.steps_of(self._settings.epochs)
        return self._settings.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    @torch.no_grad()
    def _average_in(self, averaging: float) -> None:
        share = (averaging + 1) / (averaging + self.steps)  # 1 at the first step [Shamir2013]
        for average, parameter in zip(self._average, self._parameters, strict=True):
            average.lerp_(parameter, share)


class _Order:
    """Which samples each step takes: every sample once per epoch, in an order of its own."""

    def __init__(self, samples: int, batch: int, seed: int) -> None:
        self.batch = min(batch, samples)
        self._samples, self._seed = samples, seed
        self._epoch, self._indices = -1, torch.empty(0)

    def at(self, step: int) -> Tensor:
        """Indices of one step; a batch may reach from one epoch into the next."""
        first, last = step * self.batch, (step + 1) * self.batch
        parts = []
        for epoch in range(first // self._samples, (last - 1) // self._samples + 1):
            start = epoch * self._samples
            parts.append(self._of(epoch)[max(0, first - start) : last - start])
        return torch.cat(parts)

    def _of(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed((self._seed + epoch) % 2**63)
            self._epoch = epoch
            self._indices = torch.randperm(self._samples, generator=generator)
        return self._indices
