from pathlib import Path

import pytest
import torch

from chipmend.network import precision


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ("flags : fpu sse avx2 avx512f\n", False),
        ("flags : fpu avx512f avx512_bf16 amx_tile\n", True),
        ("flags : fpu amx_bf16 avx\n", True),
        ("Features : fp asimd bf16 i8mm\n", True),
        ("Features : fp asimd svebf16x\n", False),
    ],
)
def test_bf16_is_read_from_the_processor_s_flags(monkeypatch, described, expected):
    monkeypatch.setattr(Path, "read_text", lambda _: described)
    assert precision.has_bf16.__wrapped__() is expected


def test_a_machine_that_does_not_describe_itself_counts_as_without(monkeypatch):
    def nowhere(_):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", nowhere)
    assert precision.has_bf16.__wrapped__() is False


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_products_are_in_bf16_only_where_it_is_native(monkeypatch, native, dtype):
    monkeypatch.setattr(precision, "has_bf16", lambda _: native)
    ones = torch.ones(2, 2)
    with precision.training_precision():
        assert (ones @ ones).dtype == dtype
    assert (ones @ ones).dtype == torch.float32
