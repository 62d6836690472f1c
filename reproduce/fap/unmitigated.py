"""What faulty MACs do to a network where nothing bypasses them: FAP's motivating figure.

    python reproduce/fap/unmitigated.py

An int8 network on a bit-exact model of the array; a number of MACs have one stuck bit each. By the
number of MACs, by where the bit is stuck, and by which bit it is. Each point is measured on 20
random chips, with 2,000 pictures of the test split; rows are kept in ``results/unmitigated.jsonl``
as they come, and the same command goes on.
"""

import functools
import itertools
import json
import multiprocessing
import statistics
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch

import chipmend as cm
from chipmend.faults import FaultMap, stuck_macs
from chipmend.network import gemms, scores
from chipmend.network.integer.codes import Codes
from chipmend.network.integer.network import IntegerNetwork, Lowering, lowering
from chipmend.network.processor import computing_with, keep_freed_memory
from chipmend.network.samples import ChosenSamples, batches
from chipmend.simulate import FaultyArray

RESULTS = Path(__file__).parent / "results" / "unmitigated.jsonl"
CHIPS, PICTURES, CALIBRATION = 20, 2000, 512
SUM_BITS = 24
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128)
KINDS: dict[str, dict[str, Any]] = {
    "accumulator, any bit": {"sites": ("accumulator",)},
    "accumulator, bits 0-11": {"sites": ("accumulator",), "bits": (0, 11)},
    "accumulator, bits 12-17": {"sites": ("accumulator",), "bits": (12, 17)},
    "accumulator, bits 18-22 at 1": {"sites": ("accumulator",), "bits": (18, 22), "at_1": 1.0},
    "product, any bit": {"sites": ("product",)},
    "weight, any bit": {"sites": ("weight",)},
}
BY_BIT = 16
"""MACs that are faulty where single bits are told apart."""


def jobs() -> list[dict[str, Any]]:
    """Everything that is measured."""
    by_count = [
        {"size": size, "kind": kind, "count": count}
        for size, kind, count in itertools.product((256, 64), KINDS, COUNTS)
    ]
    by_bit = [
        {"size": 64, "site": site, "bit": bit, "at": at, "count": BY_BIT}
        for site, bits in (("accumulator", SUM_BITS), ("product", 16), ("weight", 8))
        for bit in range(bits)
        for at in (0, 1)
    ]
    return by_count + by_bit


@functools.cache
def network() -> tuple[Lowering, Any, Mapping[str, Codes], ChosenSamples]:
    """The network in whole numbers, and the pictures that it is scored on."""
    keep_freed_memory()
    model, data = cm.trained("vgg11").eval(), cm.fashion_mnist()
    inputs = next(iter(batches(data.train, CALIBRATION)))[0]
    codes = {gemm.name: Codes.nearest(gemm.weight) for gemm in gemms(model)}
    pictures = ChosenSamples(data.test, torch.arange(PICTURES))
    return lowering(model, [inputs]), model, codes, pictures


def measured(job: dict[str, Any]) -> dict[str, Any]:
    """Accuracies on random chips of one kind."""
    lowered, model, codes, pictures = network()
    size = job["size"]
    array = cm.Array(rows=size, cols=size, accumulators=cm.Accumulators(bits=SUM_BITS))
    if "kind" in job:
        drawn = cm.MacsAt(count=job["count"], **KINDS[job["kind"]])
    else:
        ends = job["bit"], job["bit"]
        drawn = cm.MacsAt(count=job["count"], sites=(job["site"],), bits=ends, at_1=job["at"])
    found = []
    with computing_with(1):
        for number in range(CHIPS):
            macs = stuck_macs(array, drawn, seed=0, chip=f"chip {number}", nested=True)
            faults = FaultMap.of_pes(np.zeros((size, size), dtype=bool), macs=macs)
            chip = IntegerNetwork(lowered, model, codes, FaultyArray(array, faults))
            found.append(float(scores(chip, pictures, cm.accuracy).mean()))
    return {
        "job": job,
        "mean": statistics.mean(found),
        "least": min(found),
        "most": max(found),
        "accuracies": found,
    }


def kept() -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows that were measured before; the last line may have been cut off."""
    if RESULTS.is_file():
        for line in RESULTS.read_text().splitlines():
            if line.endswith("}"):
                row = json.loads(line)
                yield json.dumps(row["job"]), row


def main() -> None:
    done = dict(kept())
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in done.values()))
    left = [job for job in jobs() if json.dumps(job) not in done]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool, RESULTS.open("a") as file:
        for row in as_completed([pool.submit(measured, job) for job in left]):
            file.write(json.dumps(row.result()) + "\n")
            file.flush()
    show(list(dict(kept()).values()))


def show(rows: list[dict[str, Any]]) -> None:
    """Tables in Markdown: mean accuracy in percent, and the range over chips."""
    by_job = {json.dumps(row["job"]): row for row in rows}
    for size in (256, 64):
        print(f"\n| {size} x {size} | " + " | ".join(map(str, COUNTS)) + " |")
        print("|---|" + "---:|" * len(COUNTS))
        for kind in KINDS:
            cells = [
                _cell(by_job[json.dumps({"size": size, "kind": kind, "count": count})])
                for count in COUNTS
            ]
            print(f"| {kind} | " + " | ".join(cells) + " |")
    single = [row for row in rows if "bit" in row["job"]]
    for site in ("accumulator", "product", "weight"):
        print(f"\n| {site}, bit | stuck at 0 | stuck at 1 |\n|---:|---:|---:|")
        here = {(r["job"]["bit"], r["job"]["at"]): r for r in single if r["job"]["site"] == site}
        for bit in sorted({bit for bit, _ in here}):
            print(f"| {bit} | {_cell(here[bit, 0])} | {_cell(here[bit, 1])} |")


def _cell(row: Mapping[str, Any]) -> str:
    mean, least, most = (100 * row[name] for name in ("mean", "least", "most"))
    return f"{mean:.0f} ({least:.0f}-{most:.0f})"


if __name__ == "__main__":
    main()
