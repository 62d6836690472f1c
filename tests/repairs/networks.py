"""Small networks of every kind of wiring, with statistics and weights that mean something."""

import torch
from torch import nn


class Residual(nn.Module):
    """A stem, a residual block, a depthwise layer, a grouped one, a concatenation, a head."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.first, self.inner = nn.Conv2d(8, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.second, self.outer = nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 4, 3, padding=1, groups=2)
        self.joined = nn.Conv2d(12, 5, 1)
        self.head = nn.Linear(5 * 4, 3)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        x = x + self.outer(self.second(self.inner(self.first(x)).relu()))
        x = torch.cat([self.depthwise(x), self.grouped(x)], 1)
        x = nn.functional.adaptive_avg_pool2d(self.joined(x).relu(), 2)
        return self.head(x.flatten(1))


class Twice(nn.Module):
    """A layer used twice, without a bias of its own."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(8, 8, bias=False), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.layer(self.layer(x).relu()).relu())


class Attending(nn.Module):
    """A transformer layer over tokens, and a decoder that attends to other inputs."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.cross = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        y = self.encoder(x)
        return self.head(self.cross(y[:, :2], x, x)[0].mean(1))


NETWORKS = {
    "residual": (Residual, (2, 8, 8)),
    "channels last": (lambda: Residual().to(memory_format=torch.channels_last), (2, 8, 8)),
    "twice": (Twice, (8,)),
    "attending": (Attending, (5, 8)),
    "volume": (
        lambda: nn.Sequential(nn.Conv3d(1, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8, 3)),
        (1, 3, 3, 3),
    ),
}


def network(name, seed=0):
    """A network in eval mode with random weights and norms that fit its inputs."""
    torch.manual_seed(seed)
    make, shape = NETWORKS[name]
    model, some = make(), torch.randn(64, *shape)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias)
    with torch.no_grad():
        model.train()(some)
    return model.eval()


def inputs(name, count=64, seed=1):
    return torch.randn(count, *NETWORKS[name][1], generator=torch.Generator().manual_seed(seed))
