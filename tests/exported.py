"""Small networks in integers, and onnxruntime, which knows nothing of ours, to run their files."""

import onnxruntime
import torch
from torch import nn
from torch.nn import functional

from chipmend.network.gemm import gemms
from chipmend.network.integer.codes import Codes
from chipmend.network.integer.network import IntegerNetwork, lowering


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def lively_(model):
    """Norms with statistics and factors of either sign."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1, generator=seeded(1))
            module.running_var.uniform_(0.5, 2, generator=seeded(2))
            module.weight.data.normal_(1, 0.5, generator=seeded(3))
            module.bias.data.normal_(0, 0.2, generator=seeded(4))
    return model.eval()


def in_integers(model, inputs, codes=None):
    codes = codes or {gemm.name: Codes.nearest(gemm.weight) for gemm in gemms(model)}
    return IntegerNetwork(lowering(model, [inputs]), model, codes)


def by_onnxruntime(path, inputs, *, optimized=False):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options)
    return torch.from_numpy(session.run(["output"], {"input": inputs.numpy()})[0])


class Branches(nn.Module):
    """Products of three kinds, sums, sides, averages, splits, bounds."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 6, 3, padding="same")
        self.norm = nn.BatchNorm2d(6)
        self.side = nn.Conv2d(6, 6, 3, padding=1, groups=3, bias=False)
        self.alone = nn.BatchNorm2d(12)
        self.along = nn.Linear(4, 4)
        self.last = nn.Linear(48, 5)

    def forward(self, x):
        x = self.norm(self.first(x)).relu()
        y = self.side(x)
        x = functional.max_pool2d(functional.relu6(x + y), 2)
        left, right = x.chunk(2, 1)
        y = functional.avg_pool2d(y, 2).clamp(-1, 1)
        x = self.alone(torch.cat([right, left, y], 1))
        x = self.along(functional.adaptive_avg_pool2d(x, (1, 4)).flatten(2)).relu()
        return self.last(x.flatten(1))
