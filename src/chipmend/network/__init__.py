"""The network as the array and the repair steps see it."""

from chipmend.network.evaluate import Metric, accuracy, scores
from chipmend.network.gemm import Gemm, gemms
from chipmend.network.samples import Samples, TensorSamples
from chipmend.network.task import Loss, Task
from chipmend.network.workload import gemm_sizes

__all__ = [
    "Gemm",
    "Loss",
    "Metric",
    "Samples",
    "Task",
    "TensorSamples",
    "accuracy",
    "gemm_sizes",
    "gemms",
    "scores",
]
