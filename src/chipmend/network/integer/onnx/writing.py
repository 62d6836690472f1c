"""Writing integer networks as ONNX, in one of two forms.

The *fused* form has the operators that runtimes carry out in integers; how they round is theirs,
and one number in a million is another one. The *exact* form gives the chip's own numbers. Where a
number that differs moves few others that does not matter, and the fused form is the useful one;
behind products of activations, shares and layer norms it moves most of them.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from chipmend.errors import NetworkError
from chipmend.extras import imported
from chipmend.files import write_bytes
from chipmend.network.integer.network import IntegerNetwork
from chipmend.network.integer.onnx.exact import Exact
from chipmend.network.integer.onnx.fused import Fused
from chipmend.network.integer.stages import Kind

SPREADING = {Kind.PAIR, Kind.SHARES, Kind.LAYER_NORM}
"""Stages behind which a number that is rounded otherwise moves most others."""
OPSET = 21


def write_onnx(network: IntegerNetwork, path: str | Path, *, exact: bool | None = None) -> Path:
    """Write a network in integers as ONNX; its first axis may have any length.

    Args:
        network: A repaired network, in integers.
        path: The file to write.
        exact: Whether runtimes give the chip's own numbers, or have operators that they fuse; by
            default numbers are the chip's own in networks with attention or layer norms.

    Returns:
        The path.

    Raises:
        NetworkError: It is not in integers, or has operators that ONNX does not know.
        MissingExtraError: The extra ``onnx`` is not installed.
        StoreError: The file cannot be written.
    """
    if not isinstance(network, IntegerNetwork):
        raise NetworkError(
            f"a {type(network).__name__} is no network in integers",
            hint="put Quantize into the recipe; float networks are exported by torch.onnx itself",
        )
    imported("onnxscript", extra="onnx")
    graph, stages = network.lowering.graph, network.lowering.stages
    if exact is None:
        exact = any(stage.kind in SPREADING for stage in stages)
    example = torch.zeros(2, *graph.input_sizes)
    try:
        with _quietly():
            program = torch.onnx.export(
                (Exact(network) if exact else Fused(network)).eval(),
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=["input"],
                output_names=["output"],
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                verbose=False,
            )
    except Exception as error:  # whatever the exporter does with operators that it does not know
        raise NetworkError(
            f"the network cannot be written as ONNX: {str(error).strip().splitlines()[0]}",
            hint="see which operators torch.onnx knows",
        ) from error
    assert program is not None
    program.model.producer_name = "chipmend"
    return write_bytes(Path(path), program.model_proto.SerializeToString())


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the exporter says about libraries that are not needed."""
    told = logging.getLogger("torch.onnx")
    level = told.level
    told.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        told.setLevel(level)
