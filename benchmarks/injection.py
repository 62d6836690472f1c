"""From the stuck bits of a chip to a network's faulty weights, beside two fault injectors.

A full-width ResNet-18 of 11 million weights, 4 % of all bits of its memory stuck (base: per bit).
MRFI sets the weights hit to values in its own quantized domain, PyTorchFI one weight after the
other; what the values are is worked out for both outside of what is timed. Every weight is a
multiple of its tensor's step, and every output has one of full magnitude, so that one step for each
tensor, as MRFI has it, is one for each output, as we have it. ``*_map_over_ours`` is the time from
the fault map to the faulty weights, over ours; ``mrfi_total_over_ours`` that up to the outputs on
1,000 images.

Needs the extra ``injection``.
"""

import copy
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import record
import torch
from torch import Tensor, nn

import chipmend as cm
from chipmend.extras import imported
from chipmend.faults import StuckBits
from chipmend.faults.stuck_at import stuck_bits
from chipmend.hardware import Filled, read_back
from chipmend.network import gemms
from chipmend.network.processor import computing_with, keep_freed_memory
from chipmend.repairs.quantize import quantized_
from chipmend.repairs.words import Words, hit_words

MRFI = imported("mrfi.mrfi", extra="injection")
PYTORCHFI = imported("pytorchfi.core", extra="injection")
STEP = 2.0**-9
RATE = 0.04
LAYERS = ("Conv2d", "Linear")


@dataclass(frozen=True)
class Case:
    """A network on the grid of its codes, and a chip.

    Args:
        network: The network.
        filled: Where its weights lie.
        stuck: The chip's stuck bits.
        images: What it is run on, a batch at a time.
    """

    network: nn.Module
    filled: Filled
    stuck: StuckBits
    images: list[Tensor]

    def hits(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Which weights of each tensor are hit, and the numbers that their words read."""
        memory, ones_zeros = cm.WeightMemory(words=self.filled.words), self.stuck.patterns()
        found = {}
        for gemm in gemms(self.network):
            addresses = self.filled.addresses(gemm.name)
            ones, zeros = (each[addresses] for each in ones_zeros)
            (at,) = np.nonzero(ones | zeros)
            numbers = (gemm.weight.detach().flatten() / STEP).round().numpy().astype(int)
            read = read_back(memory.codes(numbers[at]), ones[at], zeros[at])
            found[gemm.name] = at, memory.values[read].astype(np.float32)
        return found


def case(*, width: float, images: int) -> Case:
    """Random codes, every output with one of full magnitude."""
    generator = torch.Generator().manual_seed(0)
    network = cm.resnet18(width=width).eval()
    network.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]  MRFI's way
    for gemm in gemms(network):
        numbers = torch.randint(-127, 128, gemm.weight.shape, generator=generator).flatten(1)
        numbers[:, 0] = 127
        gemm.weight.data.copy_(STEP * numbers.view(gemm.weight.shape))
    sizes = {gemm.name: gemm.weight.numel() for gemm in gemms(network)}
    filled = Filled.of(sizes, cm.WeightMemory())
    stuck = stuck_bits(cm.WeightMemory(words=filled.words), cm.StuckAt(rate=RATE), seed=0, chip="a")
    batches = torch.randn(images, 3, 32, 32, generator=generator).split(250)
    return Case(network, filled, stuck, list(batches))


def ours(given: Case) -> nn.Module:
    """A copy of the network with the weights that the chip's words read."""
    memory, network = cm.WeightMemory(words=given.filled.words), copy.deepcopy(given.network)
    hit = hit_words(given.filled, given.stuck)
    words = {
        gemm.name: Words(
            memory, hit[gemm.name], torch.zeros(gemm.weight.flatten(1).shape, dtype=torch.bool)
        )
        for gemm in gemms(network)
    }
    quantized_(network, cm.Naive(), words, {}, {})
    return network


def mrfi(given: Case, hits: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Any:
    """MRFI's network, set up and its weights injected once."""
    config = {
        "faultinject": [
            {
                "type": "weight",
                "quantization": {
                    "method": "SymmericQuantization",
                    "bit_width": 8,
                    "dynamic_range": 127 * STEP,
                },
                "selector": {"method": "FixPositions", "positions": at.tolist()},
                "error_mode": {"method": "SetValue", "value": read.tolist()},
                "module_fullname": [name.removesuffix(".weight")],
            }
            for name, (at, read) in hits.items()
        ]
    }
    found = MRFI.MRFI(copy.deepcopy(given.network), MRFI.EasyConfig(config))
    with torch.no_grad():
        modules: Any = found.model.modules()
        for module in modules:
            MRFI._FI_weights(module.FI_config.weights, module)
    return found


def pytorchfi(given: Case, hits: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> nn.Module:
    """PyTorchFI's copy of the network."""
    injector = PYTORCHFI.fault_injection(
        given.network,
        1,
        input_shape=[3, 32, 32],
        layer_types=[nn.Conv2d, nn.Linear],
        use_cuda=False,
    )
    parts: dict[str, list[Any]] = {name: [] for name in ("layer_num", "k", "dim1", "dim2", "dim3")}
    values: list[float] = []
    layers = [
        f"{name}.weight"
        for name, module in given.network.named_modules()
        if type(module).__name__ in LAYERS
    ]
    for number, name in enumerate(layers):
        at, read = hits[name]
        shape = given.network.get_parameter(name).shape
        places = [part.tolist() for part in np.unravel_index(at, shape)]
        places += [[None] * len(at)] * (4 - len(places))
        parts["layer_num"] += [number] * len(at)
        for key, place in zip(("k", "dim1", "dim2", "dim3"), places, strict=True):
            parts[key] += place
        values += (STEP * read).tolist()
    return injector.declare_weight_fi(**parts, value=values)


def outputs(run: Callable[[Tensor], Tensor], given: Case) -> Tensor:
    """Outputs on all images."""
    with torch.inference_mode():
        return torch.cat([run(batch) for batch in given.images])


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What something gives, and its seconds."""
    started = time.perf_counter()
    found = work()
    return found, time.perf_counter() - started


def apart(found: nn.Module, wanted: nn.Module) -> float:
    """The greatest difference of two networks' weights."""
    theirs = dict(found.named_parameters())
    return max(
        float((theirs[gemm.name] - gemm.weight).abs().max().detach()) for gemm in gemms(wanted)
    )


def measured(given: Case, *, with_pytorchfi: bool) -> dict[str, Any]:
    """One round: seconds of each, and how far the weights are apart."""
    hits = given.hits()
    mended, our_map = timed(lambda: ours(given))
    _, our_run = timed(lambda: outputs(mended, given))
    injected, mrfi_map = timed(lambda: mrfi(given, hits))
    row = {
        "ours_map": our_map,
        "ours_total": our_map + our_run,
        "mrfi_map": mrfi_map,
        "mrfi_apart": apart(injected.model, mended),
    }
    # its hooks inject once more whenever the network is run, so what was set up is all it needs
    _, mrfi_run = timed(lambda: outputs(injected, given))
    row["mrfi_total"] = mrfi_map + mrfi_run
    if with_pytorchfi:
        corrupted, row["pytorchfi_map"] = timed(lambda: pytorchfi(given, hits))
        row["pytorchfi_apart"] = apart(corrupted, mended)
    return row


def main() -> None:
    options = record.arguments(__doc__)
    keep_freed_memory()
    with computing_with(1):
        if options.quick:
            given, rounds = case(width=0.25, images=250), 2
        else:
            given, rounds = case(width=1.0, images=1000), 5
        ours(given)
        rows = [measured(given, with_pytorchfi=number < 2) for number in range(rounds)]

    def over_ours(what: str, ours: str) -> float:
        return statistics.median(row[what] / row[ours] for row in rows if what in row)

    figures = {
        "mrfi_map_over_ours": over_ours("mrfi_map", "ours_map"),
        "pytorchfi_map_over_ours": over_ours("pytorchfi_map", "ours_map"),
        "mrfi_total_over_ours": over_ours("mrfi_total", "ours_total"),
        "max_weight_difference": max(
            value for row in rows for name, value in row.items() if name.endswith("apart")
        ),
        "words": given.filled.words,
        "stuck_bits": given.stuck.count,
    }
    record.write("injection", options, figures, rows)


if __name__ == "__main__":
    main()
