"""Write the tables of the README beside this file from what benchmarks measured.

python reproduce/cross_layer/tables.py [benchmarks/results]
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from chipmend.files import write_bytes
from chipmend.hardware import Array
from chipmend.protect.design import Design
from chipmend.records import rebuilt
from chipmend.report.design import design_in_words

README = Path(__file__).with_name("README.md")
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
HEAD = (
    "| design | what it has | area over full TMR's | drop, validation | drop, test | more cycles "
    "| stuck bits masked | meets |\n|---|---|---:|---:|---:|---:|---:|---|\n"
)

VULNERABILITY = (
    "| network | weight | neurons | rank correlation | of 1,024 samples "
    "| between halves of what was injected | ceiling |\n|---|---|---:|---:|---:|---:|---:|\n"
)
QUANTIZATION = (
    "| network, rate | shifts | range of activations | lost, validation | lost, test "
    "| uniform bits of 24 | of as few as sums need |\n|---|---|---:|---:|---:|---:|---:|\n"
)
MAP = (
    "| array | bits of accumulators | signs extended | fewest bits of all PEs | with a unit |\n"
    "|---|---:|---|---:|---:|\n"
)


def designs(result: Mapping[str, Any]) -> str:
    """A table for every network and rate.

    Args:
        result: The benchmark's JSON.
    """
    parts = _parts(result)
    found = []
    for network in _networks(parts, "cells"):
        losses = {each["rate"]: each["loss"] for each in parts[f"rates {network}"]["rates"]}
        for cell in parts[f"cells {network}"]["cells"]:
            title = (
                f"**{network}, {cell['rate']:g} per bit and cycle**, at which it loses "
                f"{100 * losses[cell['rate']]:.0f} points unprotected:"
            )
            found.append(f"{title}\n\n{HEAD}{''.join(_rows(cell))}")
    return "\n".join(found)


def vulnerability(result: Mapping[str, Any]) -> str:
    """How well estimates rank the neurons of each layer."""
    parts, lines = _parts(result), [VULNERABILITY]
    for network in _networks(parts, "correlation"):
        for row in parts[f"correlation {network}"]["layers"]:
            numbers = (row["spearman"], row["spearman_of_1024"], row["split_half"], row["ceiling"])
            cells = [network, row["layer"], str(row["neurons"]), *(f"{n:.2f}" for n in numbers)]
            lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


def quantization(result: Mapping[str, Any]) -> str:
    """What constraints cost without flips, and the bits that need protection then."""
    parts, lines = _parts(result), [QUANTIZATION]
    for network in _networks(parts, "quantization"):
        part = parts[f"quantization {network}"]
        for row in part["rows"]:
            shifts = ", ".join(map(str, row["shifts"])) or "any factor"
            cells = [
                f"{network}, {part['rate']:g}",
                shifts,
                f"{100 * row['quantization']['activation_range']:.0f} %",
                *(f"{100 * row[f'lost_on_{split}']:.2f}" for split in SPLITS),
                _bits(row["bits_of_24"]),
                f"{_bits(row['bits_of_narrow'])} of {row['widest']}",
            ]
            lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


def where_units_pay(result: Mapping[str, Any]) -> str:
    """The smallest designs on several arrays, with and without a dot-product unit."""
    lines = [MAP]
    for row in result["rows"]:
        alone, unit = row["alone_over_full"], row["unit_over_full"]
        pays = alone is None or (unit is not None and unit < alone)
        cells = [
            f"{row['size']} x {row['size']}",
            str(row["accumulator_bits"]),
            "yes" if row["signs_extended"] else "no",
            _share(alone),
            _share(unit) if pays else "none smaller found",
        ]
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


SECTIONS = {
    "designs": ("protection", designs),
    "vulnerability": ("protection", vulnerability),
    "quantization": ("protection", quantization),
    "map": ("protection_map", where_units_pay),
}
"""What is written between the marks of each name, and the benchmark that it is from."""


def _parts(result: Mapping[str, Any]) -> dict[str, Any]:
    return {row["part"]: row for row in result["rows"]}


def _networks(parts: Mapping[str, Any], kind: str) -> list[str]:
    named = [name.split(" ") for name in parts]
    return sorted((each[1] for each in named if each[0] == kind), reverse=True)


def _share(overhead: float | None) -> str:
    return "none found" if overhead is None else f"{100 * overhead:.1f} %"


def _bits(count: int | None) -> str:
    return "not enough" if count is None else str(count)


def _rows(cell: Mapping[str, Any]) -> Iterator[str]:
    full = next(each["overhead"] for each in cell["designs"] if each["name"] == "full TMR")
    bare = rebuilt(Design, cell["designs"][0]["design"])
    array = bare.on(Array(rows=bare.rows, cols=bare.cols))
    for each in cell["designs"]:
        design: Any = SimpleNamespace(**{**each, "design": rebuilt(Design, each["design"])})
        cells = (
            each["name"],
            design_in_words(design, array),
            f"{100 * each['overhead'] / full:.1f} %",
            *(f"{100 * each[s]['drop']:.2f} ± {100 * each[s]['error']:.2f}" for s in SPLITS),
            f"{100 * each['slowdown']:.2f} %",
            f"{100 * each['masked']['stuck_bits']:.0f} %",
            "yes" if each["meets"] else "no",
        )
        yield f"| {' | '.join(cells)} |\n"


SPLITS = ("validation", "test")


def with_tables(text: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """A README's text with the tables of the results of benchmarks."""
    for name, (benchmark, table) in SECTIONS.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        found = f"{begin}\n{table(results[benchmark])}\n{end}"
        text = re.sub(f"{begin}.*?{end}", found, text, flags=re.DOTALL)
    return text


def main(arguments: list[str]) -> None:
    """Rewrite the README."""
    folder, results = Path(arguments[0]) if arguments else RESULTS, {}
    for benchmark in dict.fromkeys(benchmark for benchmark, _ in SECTIONS.values()):
        path = folder / f"{benchmark}.json"
        if not path.exists():
            sys.exit(f"error: {path} is not there: run benchmarks/{benchmark}.py --json {path}")
        results[benchmark] = json.loads(path.read_bytes())
    write_bytes(README, with_tables(README.read_text(), results).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
