"""Verify a bundle: run it on a bit-exact model of its chip, beside what was promised of it.

Codes are written to the chip's faulty memory and read back, and put on its PEs with all faults
live. Two numbers that were obtained in another way stand beside: the accuracy that the campaign
recorded, and the predictions of the exported network under another runtime.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from chipmend.bundle.base import Base
from chipmend.bundle.bundle import Bundle, Expected
from chipmend.bundle.delta import Repair
from chipmend.errors import BundleError
from chipmend.extras import imported
from chipmend.faults.maps import Chip, check_fits
from chipmend.network.dynamic import Lost, lose_in_products_
from chipmend.network.evaluate import Metric, scores
from chipmend.network.integer.layers import Sound
from chipmend.network.integer.network import IntegerNetwork
from chipmend.network.integer.onnx.writing import write_onnx
from chipmend.network.samples import Samples, batches
from chipmend.network.tensors import give_, own_tensors
from chipmend.simulate.chip import on_chip

AGREEMENT = 0.999
"""Share of images on which another runtime has to predict the same."""
BATCH = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a bundle came to on its chip.

    Args:
        chip: Identity of the chip.
        accuracy: Mean score on the chip, to the last bit.
        recorded: What the campaign recorded.
        agreement: Share of images on which the exported network predicts the same under another
            runtime; none if it was not asked, or the chip has faults that no export can hold.
        reason: What is wrong; empty if nothing is.
    """

    chip: str
    accuracy: float
    recorded: float
    agreement: float | None
    reason: str

    @property
    def holds(self) -> bool:
        """Whether the bundle does what was promised."""
        return not self.reason


def network_of(bundle: Bundle, base: Base, base_digest: str) -> IntegerNetwork:
    """The network that a bundle holds, in its own order of channels: what is exported.

    Raises:
        BundleError: It is for another base, or one of real numbers.
    """
    repair = bundle.repair(base, base_digest)
    if base.lowering is None or repair.codes is None:
        raise BundleError(
            f"{bundle.path} holds a network of real numbers",
            hint="put quantize into the recipe for one in codes",
        )
    sound = Sound(Lost(repair.bypassed, base.array))
    return IntegerNetwork(base.lowering, repair.tensors, repair.codes, sound)


def on_its_chip(repair: Repair, base: Base, chip: Chip) -> IntegerNetwork:
    """What a chip computes with a network of whole numbers, all its faults live."""
    assert base.lowering is not None
    assert repair.codes is not None
    return on_chip(
        base.lowering,
        repair.tensors,
        repair.codes,
        array=base.array,
        faults=chip.faults,
        filled=base.filled if chip.faults.stuck else None,
        moved=(base.couplings, repair.positions) if repair.positions else None,
    )


def verify(
    bundle: Bundle,
    base: Base,
    base_digest: str,
    chip: Chip,
    test: Samples,
    metric: Metric,
    *,
    network: nn.Module | None = None,
    runtime: bool = True,
) -> Verified:
    """Verify one bundle.

    Args:
        bundle: The bundle.
        base: What all chips share.
        base_digest: Its digest.
        chip: The chip.
        test: The test split.
        metric: One score per sample.
        network: A copy of the clean network, for bundles of real numbers: it gets the bundle's.
        runtime: Whether another runtime is asked as well (extra ``onnx``); only about networks of
            whole numbers.

    Returns:
        What it came to.

    Raises:
        BundleError: It is for another chip or base, or its network is one of real numbers and none
            is given for these.
        FaultMapError: The chip is not one of the base's array.
    """
    bundle.check_is_for(chip)
    check_fits([chip], base.array)
    repair = bundle.repair(base, base_digest)
    if not np.array_equal(repair.bypassed, chip.faults.unusable):
        raise BundleError(
            f"{bundle.path} bypasses other PEs than chip {chip.id} has faulty",
            hint="mend the chip again",
        )
    if repair.codes is None:
        shipped = _of_real_numbers(bundle, repair, base, network)
    else:
        shipped = on_its_chip(repair, base, chip)
    found = scores(shipped, test, metric)
    accuracy, agreement = float(found.mean()), None
    if runtime and repair.codes is not None and chip.faults.live is None:
        agreement = agreement_of(network_of(bundle, base, base_digest), shipped, test)
    reasons = list(_reasons(bundle.expected, accuracy, len(found), agreement))
    return Verified(
        chip=chip.id,
        accuracy=accuracy,
        recorded=bundle.expected.accuracy,
        agreement=agreement,
        reason="; ".join(reasons),
    )


def _reasons(
    expected: Expected, accuracy: float, samples: int, agreement: float | None
) -> Iterator[str]:
    """What is not as it should be."""
    if samples != expected.samples:
        yield f"{samples} test samples, where there were {expected.samples}"
    if accuracy != expected.accuracy:
        yield f"accuracy {accuracy:.6f} on the chip, where {expected.accuracy:.6f} was recorded"
    if agreement is not None and agreement < AGREEMENT:
        yield f"another runtime predicts the same on {100 * agreement:.2f} % alone"


def _of_real_numbers(
    bundle: Bundle, repair: Repair, base: Base, network: nn.Module | None
) -> nn.Module:
    """The network that a bundle holds, whose weights on PEs that are bypassed have to be zero."""
    if network is None:
        raise BundleError(
            f"{bundle.path} holds a network of real numbers, and nothing to run it with is given",
            hint="give a copy of the clean network, or put quantize into the recipe",
        )
    lost = base.lost(repair.bypassed, repair.positions)
    if any(bool(repair.tensors[name][where].any()) for name, where in lost.items()):
        raise BundleError(
            f"{bundle.path} has weights on PEs that are bypassed", hint="mend the chip again"
        )
    sizes = [
        {name: tensor.shape for name, tensor in each.items()}
        for each in (own_tensors(network), repair.tensors)
    ]
    if sizes[0] != sizes[1]:
        raise BundleError(
            f"{bundle.path} holds another network than it was given to run with",
            hint="give the plan of the network that it was made for",
        )
    give_(network, repair.tensors)
    lose_in_products_(network, Lost(repair.bypassed, base.array))
    return network


def agreement_of(exported: IntegerNetwork, network: nn.Module, samples: Samples) -> float:
    """Share of samples on which onnxruntime, in its own int8, predicts what a network does.

    Args:
        exported: What is written as ONNX.
        network: What its predictions are compared with.
        samples: The samples.

    Raises:
        MissingExtraError: The extra ``onnx`` is not installed.
    """
    runtime = imported("onnxruntime", extra="onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with TemporaryDirectory(prefix="chipmend-onnx-") as folder:
        path = write_onnx(exported, Path(folder) / "network.onnx")
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        same = total = 0
        with torch.inference_mode():
            for inputs, _ in batches(samples, BATCH, torch.device("cpu")):
                theirs = torch.from_numpy(session.run(None, {name: inputs.numpy()})[0])
                same += int((_predicted(theirs) == _predicted(network(inputs))).sum())
                total += len(inputs)
    return same / total


def _predicted(outputs: Tensor) -> Tensor:
    return outputs.flatten(1).argmax(1)
