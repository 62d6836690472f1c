"""Train the zoo's reference networks: ``python -m chipmend.zoo.train``.

Plain supervised training on the training split alone: SGD with Nesterov momentum, a linear warm-up
and a cosine to zero, no augmentation, a fixed number of epochs, so nothing is chosen by looking.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from chipmend.data import DATA_SETS
from chipmend.errors import ChipmendError, DataError
from chipmend.network.evaluate import accuracy, device_of, scores
from chipmend.network.processor import keep_freed_memory
from chipmend.network.samples import Samples
from chipmend.zoo import NETWORKS, imagenet
from chipmend.zoo.weights import write_weights

BATCH, WARM_UP_STEPS, DECAY = 128, 400, 5e-4
PEAK_RATE, PEAK_RATE_WITHOUT_NORMS = 0.1, 0.02


def train(network: nn.Module, samples: Samples, *, epochs: int, seed: int) -> Iterator[float]:
    """Train a network in place, yielding the mean loss of each epoch.

    Args:
        network: What to train.
        samples: The training split.
        epochs: Passes over it.
        seed: Of the order of the samples.

    Yields:
        Mean loss over the epoch.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(
        network.parameters(), _peak_rate(network), momentum=0.9, weight_decay=DECAY, nesterov=True
    )
    per_epoch = len(samples) // BATCH
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: _rate(s, epochs * per_epoch))
    network.train()
    for _ in range(epochs):
        order = torch.randperm(len(samples), generator=generator)[: per_epoch * BATCH]
        losses = []
        for indices in order.split(BATCH):
            losses.append(_step(network, optimizer, *samples.batch(indices)))
            rate.step()
        yield float(torch.stack(losses).mean())


def _peak_rate(network: nn.Module) -> float:
    has_norms = any(isinstance(part, _NormBase) for part in network.modules())
    return PEAK_RATE if has_norms else PEAK_RATE_WITHOUT_NORMS


def _rate(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _step(
    network: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor
) -> Tensor:
    device = device_of(network)
    inputs, targets = inputs.to(device), targets.to(device)
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(network(inputs), targets)
    loss.backward()
    optimizer.step()
    return loss.detach()


def main(arguments: list[str]) -> None:
    """Train a network on a data set; the defaults give the weights that are shipped."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--data", choices=DATA_SETS, default="fashion-mnist")
    parser.add_argument("--path", help="folder of the data set")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--epochs", type=_count, default=15)
    parser.add_argument("--threads", type=_count, default=1, help="other counts round differently")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="by default in this folder")
    options = parser.parse_args(arguments)
    try:
        _train(options)
    except ChipmendError as error:
        parser.exit(2, f"error: {error}\n")


def _train(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    torch.manual_seed(0)
    splits = DATA_SETS[options.data](options.path)
    network = _made(options, splits.train).to(options.device)
    for epoch, loss in enumerate(train(network, splits.train, epochs=options.epochs, seed=0)):
        sys.stdout.write(f"epoch {epoch + 1}: loss {loss:.4f}\n")
        sys.stdout.flush()
    name = f"{options.network}-{options.data}-{options.width:g}.safetensors"
    path = options.out or Path(name)
    write_weights(network, path)  # rounds the network to what the file holds
    for split, samples in (("validation", splits.validation), ("test", splits.test)):
        share = scores(network, samples, accuracy).mean()
        sys.stdout.write(f"{split} accuracy after rounding: {share:.4f}\n")
    sys.stdout.write(f"{path}\n")


def _made(options: argparse.Namespace, train: Samples) -> nn.Module:
    """The network in the form for the pictures that there are, with as many outputs as classes."""
    _, channels, side, _ = train.batch(torch.tensor([0]))[0].shape
    targets = getattr(train, "targets", torch.tensor([9]))
    forms = {32: NETWORKS[options.network], 224: getattr(imagenet, options.network)}
    if side not in forms:
        raise DataError(
            f"pictures of {side} pixels", hint="networks of the zoo are for 32 or 224 pixels"
        )
    if len(train) < BATCH:
        raise DataError(f"{len(train)} training pictures", hint=f"give at least {BATCH}")
    classes = max(10, int(targets.max()) + 1)
    return forms[side](classes=classes, channels=channels, width=options.width)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number, 1 or more")
    return int(text)


if __name__ == "__main__":
    main(sys.argv[1:])
