"""The simulated array against Verilog, what simulating costs, and what ships to simulated chips.

Proof: random matrix products with random faults at all sites, on arrays from 2 x 2 to 16 x 16 PEs
of both placements, with accumulators of all kinds; simulator and Icarus Verilog agree or do not.

Cost: quarter-width VGG11, 256 pictures, beside the float32 forward pass of the same network in
turn, medians of several rounds; three chips for each kind and rate of faults (base: per PE), one
stuck bit in each faulty MAC. ``faulty_*`` are 64 x 64 PEs with stuck accumulators of 24 bits that
wrap around, no bypass.

Verilog's cost: one product of 1,024 rows on 32 x 32 PEs with live faults, by Icarus and by us.

Bundles: lots of 20 chips with 4 % of their memory's bits stuck (base: per bit), mended with FAQ,
with compensated FAQ, and by the cascade with faulty PEs as well. All bundles are verified: the
accuracy on the bit-exact chip is the campaign's, and onnxruntime predicts the same on 99.9 % of the
test images.

Attention: the same of a quarter-width vision transformer, whose products of activations go through
the array too, and a lot of it that the cascade mends.
"""

import copy
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch

import chipmend as cm
from chipmend.faults import FaultMap, stuck_macs
from chipmend.hardware import SITES
from chipmend.network import gemms
from chipmend.network.integer.codes import Codes
from chipmend.network.integer.network import IntegerNetwork, lowering
from chipmend.network.processor import computing_with, keep_freed_memory
from chipmend.network.samples import batches
from chipmend.simulate import FaultyArray
from chipmend.simulate.rtl import Icarus, found_icarus
from chipmend.simulate.rtl.icarus import Gemm
from chipmend.simulate.rtl.proof import product_of, prove, random_array, simulated

ARRAYS, CASES = 220, 25
PICTURES, ROUNDS, CHIPS = 256, 15, 3
RATES = (0.001, 0.01)
ROWS_OF_RTL = 1024
KEYS = ("size", "overflow", "site", "rate", "chip")
LOT = 20
STUCK = 0.04
AGREEMENT = 0.999
FAQ = (cm.Prune(), cm.Quantize(form=cm.FAQ()))
COMPENSATED = (cm.Prune(), cm.Quantize(), cm.Recalibrate())


def proofs(seed: int) -> dict[str, Any]:
    """One random array, and random products on it."""
    array = random_array(np.random.default_rng(seed))
    found = prove(array, cases=CASES, seed=seed)
    return {
        "proof": seed,
        "rows": array.rows,
        "cols": array.cols,
        "placement": array.placement,
        "weight_bits": array.memory.bits,
        "overflow": array.accumulators.overflow,
        "tiles": array.accumulators.tiles,
        "sum_bits": array.accumulators.bits,
        "outside_bits": array.accumulators.outside_bits,
        "cases": found.cases,
        "sums": found.sums,
        "moved": found.moved,
        "pairs": found.pairs,
        "mismatches": len(found.mismatches),
    }


def chips_of(size: int, overflow: str, site: str, rate: float) -> list[FaultyArray]:
    """Chips with live faults at one site."""
    sums = cm.Accumulators(bits=24, overflow=overflow)  # pyright: ignore[reportArgumentType]
    array = cm.Array(rows=size, cols=size, accumulators=sums)
    drawn = cm.MacsAt(count=round(rate * size * size), sites=(site,))  # pyright: ignore[reportArgumentType]
    sound = np.zeros((size, size), dtype=bool)
    return [
        FaultyArray(
            array,
            FaultMap.of_pes(sound, macs=stuck_macs(array, drawn, seed=1, chip=f"{site} {number}")),
        )
        for number in range(CHIPS)
    ]


def bypassed() -> FaultyArray:
    """A chip with 1 % of its PEs bypassed, and nothing live."""
    array = cm.Array(rows=64, cols=64, accumulators=cm.Accumulators(bits=24))
    return FaultyArray(array, cm.make_chips(array, rate=0.01, count=1)[0].faults)


def forward_passes(
    name: str, rounds: int, threads: int, kinds: Sequence[tuple[int, str, str]]
) -> list[dict[str, Any]]:
    """Forward passes of one network, sound and on chips, in turn with the float one."""
    keep_freed_memory()
    model, data = cm.trained(name).eval(), cm.fashion_mnist()
    inputs = next(iter(batches(data.test, PICTURES)))[0]
    lowered = lowering(model, [inputs])
    codes = {gemm.name: Codes.nearest(gemm.weight) for gemm in gemms(model)}
    networks: dict[Any, Callable[[torch.Tensor], Any]] = {
        "float32": model,
        "float32, channels last": model_last(model),
        "int8": IntegerNetwork(lowered, model, codes),
        "bypass": IntegerNetwork(lowered, model, codes, bypassed()),
    }
    for size, overflow, site in kinds:
        for rate in RATES:
            for number, chip in enumerate(chips_of(size, overflow, site, rate)):
                key = size, overflow, site, rate, number
                networks[key] = IntegerNetwork(lowered, model, codes, chip)
    with computing_with(threads), torch.inference_mode():
        seconds = in_turn({key: lambda n=n: n(inputs) for key, n in networks.items()}, rounds)
    reference = min(seconds["float32"], seconds["float32, channels last"])
    return [
        {
            "network": name,
            "forward": key if isinstance(key, str) else " ".join(map(str, key)),
            "threads": threads,
            "seconds": found,
            "over_float": found / reference,
            "over_int8": found / seconds["int8"],
            **(
                {}
                if isinstance(key, str)
                else dict(zip(("size", "overflow", "site", "rate", "chip"), key, strict=True))
            ),
        }
        for key, found in seconds.items()
    ]


def model_last(model: torch.nn.Module) -> Callable[[torch.Tensor], Any]:
    """The float network with channels innermost in memory, as is faster on some processors."""
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return lambda inputs: last(inputs.contiguous(memory_format=torch.channels_last))


def in_turn(passes: Mapping[Any, Callable[[], Any]], rounds: int) -> dict[Any, float]:
    """Median seconds of each, one after the other in every round."""
    taken: dict[Any, list[float]] = {key: [] for key in passes}
    for once in passes.values():
        once()
    for _ in range(rounds):
        for key, once in passes.items():
            started = time.perf_counter()
            once()
            taken[key].append(time.perf_counter() - started)
    return {key: statistics.median(seconds) for key, seconds in taken.items()}


def beside_verilog(tiles: int) -> dict[str, Any]:
    """One product of some tiles with live faults, by Icarus Verilog and by the simulator."""
    keep_freed_memory()
    array = cm.Array(rows=32, cols=32, accumulators=cm.Accumulators(bits=24))
    random = np.random.default_rng(0)
    macs = stuck_macs(array, cm.MacsAt(count=10, sites=SITES), seed=0, chip="rtl")
    faults = FaultMap.of_pes(np.zeros((32, 32), dtype=bool), macs=macs)
    inputs = random.integers(0, 256, (ROWS_OF_RTL, 32 * tiles, 1))
    weights = random.integers(-128, 128, (32 * tiles, 32 * tiles, 1))
    gemm = Gemm(inputs, weights, faults)
    with computing_with(1):
        with Icarus(array) as rtl:
            started = time.perf_counter()
            (expected,) = rtl.products([gemm])
            verilog = time.perf_counter() - started
        ours = in_turn({"ours": prepared(gemm, array)}, 30)["ours"]
        assert np.array_equal(simulated(gemm, array, faults), expected)
    return {"verilog_seconds": verilog, "seconds": ours, "over": verilog / ours}


def prepared(gemm: Gemm, array: cm.Array) -> Callable[[], Any]:
    """The product by the simulator, once the chip is known to it."""
    product, inputs = product_of(gemm, array, gemm.faults)
    return lambda: product(inputs)


def lot_of(words: int, *, rate: float | tuple[float, float], count: int) -> tuple[cm.Array, cm.Lot]:
    """Chips with stuck bits, and faulty PEs if wanted."""
    array = cm.Array(
        rows=64,
        cols=64,
        memory=cm.WeightMemory(words=words),
        accumulators=cm.Accumulators(bits=24),
    )
    return array, cm.make_chips(
        array, rate=rate, count=count, stuck=cm.StuckAt(rate=STUCK), spread="even"
    )


def task_of(network: str) -> cm.Task:
    """A network of the zoo, and Fashion-MNIST."""
    data = cm.fashion_mnist()
    return cm.Task(
        cm.trained(network), train=data.train, validation=data.validation, test=data.test
    )


def shipped(count: int, *, quick: bool) -> list[dict[str, Any]]:
    """Lots that are mended, and all of whose bundles are verified."""
    lots: list[tuple[str, str, Any, Any]] = [
        ("FAQ", "vgg11", cm.FixedSteps(steps=FAQ, label="FAQ"), 0.0),
        ("compensated FAQ", "vgg11", cm.FixedSteps(steps=COMPENSATED, label="compensated"), 0.0),
        ("attention", "vit", cm.Cascade(), (0.0, 0.1)),
        ("cascade", "vgg11", cm.Cascade(), (0.0, 0.2)),
    ]
    rows = []
    for name, network, policy, rate in lots[:2] if quick else lots:
        task = task_of(network)
        words = sum(gemm.weight.numel() for gemm in gemms(task.model))
        array, lot = lot_of(words, rate=rate, count=count)
        with tempfile.TemporaryDirectory() as run:
            outcome = cm.mend(
                task,
                lot,
                array=array,
                constraint=cm.Drop(0.018),
                policies=[policy],
                hindsight=False,
                run=Path(run),
                workers=1 if quick else 2,
                threads=1,
                verify="all",
            )
        for found in outcome.records:
            bundle = found.bundle
            verified = None if bundle is None else bundle.verified
            rows.append(
                {
                    "lot": name,
                    "chip": found.chip,
                    "fault_rate": found.fault_rate,
                    "bin": str(found.bin),
                    "accuracy": found.accuracy,
                    "bytes": bundle and bundle.bytes,
                    "full": bundle and bundle.full,
                    "on_chip": verified and verified.accuracy,
                    "agreement": verified and verified.agreement,
                    "verified": bool(
                        verified
                        and verified.holds
                        and verified.accuracy == found.accuracy
                        and (verified.agreement or 0) >= AGREEMENT
                    ),
                }
            )
    return rows


def figures_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """The numbers that claims rest on; costs are those of one thread."""
    alone = [row for row in rows if row.get("threads") == 1]

    def over_float(
        rate: float,
        size: int = 64,
        overflow: str = "wrap",
        site: str = "accumulator",
        network: str = "vgg11",
    ) -> float | None:
        names = ("network", "size", "overflow", "site", "rate")
        found = [
            row["over_float"]
            for row in alone
            if tuple(map(row.get, names)) == (network, size, overflow, site, rate)
        ]
        return statistics.mean(found) if found else None

    def of(name: str, over: str, network: str = "vgg11") -> float:
        found = ((row["network"], row["forward"], row[over]) for row in alone)
        return next(ratio for *which, ratio in found if which == [network, name])

    proved = [row for row in rows if "proof" in row]
    bundles = [row for row in rows if "lot" in row]

    def delta(lot: str) -> float | None:
        own = [row for row in bundles if row["lot"] == lot and row["bytes"]]
        if not own:
            return None
        return sum(row["bytes"] for row in own) / sum(row["full"] for row in own)

    figures: dict[str, float | None] = {
        "rtl_cases": sum(row["cases"] for row in proved) if proved else None,
        "rtl_mismatches": sum(row["mismatches"] for row in proved) if proved else None,
        "int8_over_float": of("int8", "over_float"),
        "faulty_0_1_percent_over_float": over_float(0.001),
        "faulty_1_percent_over_float": over_float(0.01),
        "bypass_over_int8": of("bypass", "over_int8"),
        "rtl_over_simulation": next((row["over"] for row in rows if "over" in row), None),
        "verified_share": statistics.mean(row["verified"] for row in bundles),
        "delta_faq_over_full": delta("FAQ"),
        "delta_compensated_over_full": delta("compensated FAQ"),
        "delta_cascade_over_full": delta("cascade"),
        "delta_attention_over_full": delta("attention"),
        "attention_int8_over_float": of("int8", "over_float", "vit"),
        "attention_bypass_over_int8": of("bypass", "over_int8", "vit"),
        "attention_faulty_1_percent_over_float": over_float(0.01, network="vit"),
        "rtl_pairs": sum(row["pairs"] for row in proved) if proved else None,
    }
    for size, overflow, site in kinds():
        for rate in RATES:
            name = f"{site}_{overflow}_{size}_{1000 * rate:g}_per_mille_over_float"
            figures[name] = over_float(rate, size, overflow, site)
    return figures


def kinds(*, quick: bool = False) -> list[tuple[int, str, str]]:
    """Size of the array, what overflows do, and where bits are stuck."""
    sizes = (64,) if quick else (64, 256)
    overflows = ("wrap",) if quick else ("wrap", "saturate")
    return [(size, overflow, site) for size in sizes for overflow in overflows for site in SITES]


def main() -> None:
    options = record.arguments(__doc__)
    quick = options.quick
    context = multiprocessing.get_context("spawn")
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        if found_icarus():
            rows += pool.map(proofs, range(8 if quick else ARRAYS))
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        for threads in (1,) if quick else (1, 2):
            rounds = 5 if quick else ROUNDS
            for name, met in (("vgg11", kinds(quick=quick)), ("vit", [(64, "wrap", SITES[-1])])):
                rows += pool.submit(forward_passes, name, rounds, threads, met).result()
        if found_icarus():
            rows.append(pool.submit(beside_verilog, 1 if quick else 2).result())
    rows += shipped(1 if quick else LOT, quick=quick)
    record.write("array_simulation", options, figures_of(rows), rows)


if __name__ == "__main__":
    main()
