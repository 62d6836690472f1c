"""Networks that benchmarks need and the zoo does not ship."""

import torch
from torch import Tensor, nn

import chipmend as cm
from chipmend.repairs import Retraining
from chipmend.steps import Decaying, Retrain


class Block(nn.Module):
    """A residual block of two convolutions [He2016].

    References:
        [He2016] He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.side = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.side = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """What the body gives out, added to the input."""
        return (self.body(x) + self.side(x)).relu()


def resnet18(classes: int = 10) -> nn.Module:
    """ResNet-18 for pictures of 3 x 32 x 32, with random weights."""
    sizes = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
    blocks = [
        block
        for inputs, outputs, stride in sizes
        for block in (Block(inputs, outputs, stride), Block(outputs, outputs, 1))
    ]
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, 1, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, classes),
    )


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
