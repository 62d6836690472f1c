"""In which precision to compute: bfloat16 where it pays to train in it, single for algebra."""

import functools
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor

_FLAGS = ("avx512_bf16", "amx_bf16", " bf16 ")  # x86, x86, Arm


@functools.cache
def has_bf16(device_type: str = "cpu") -> bool:
    """Whether the device computes in bfloat16 itself rather than by emulation."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        described = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return any(flag in described for flag in _FLAGS)


def training_precision(device_type: str = "cpu") -> AbstractContextManager[object]:
    """Autocast to bfloat16 where the device has it, else compute in float32 as stored."""
    return torch.autocast(device_type, torch.bfloat16, enabled=has_bf16(device_type))


def at_least_single(tensor: Tensor) -> Tensor:
    """A tensor in single precision, or in its own if that is higher: algebra needs as much."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
