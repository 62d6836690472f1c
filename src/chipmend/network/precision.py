"""Whether a processor multiplies bfloat16 natively, so that training in it pays."""

import functools
from contextlib import AbstractContextManager
from pathlib import Path

import torch

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
