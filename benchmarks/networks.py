"""Networks that benchmarks need and the zoo does not ship."""

import torch
from torch import nn

import chipmend as cm
from chipmend.repairs import Retraining
from chipmend.steps import Decaying, Retrain


def depthwise(classes: int = 10) -> nn.Module:
    """A compact network of depthwise and pointwise layers for pictures of 1 x 28 x 28.

    Its weights are random, and the same in every process.
    """
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(1, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    for inputs, outputs, stride in [(16, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2)]:
        layers += [
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes))


def trained(task: cm.Task, epochs: float) -> cm.Task:
    """The same task with its network trained."""
    settings = Retrain(epochs=epochs, learning_rate=0.05, schedule=Decaying())
    training = Retraining(
        task.fresh_network(), {}, task.train, loss=task.loss, settings=settings, seed=0
    )
    training.advance(epochs)
    return cm.Task(training.network(), train=task.train, validation=task.validation, test=task.test)
