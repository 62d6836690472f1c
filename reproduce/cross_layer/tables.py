"""Write the tables of the README beside this file from what the benchmark measured.

python reproduce/cross_layer/tables.py [benchmarks/results/protection.json]
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
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "protection.json"
BEGIN, END = "<!-- designs -->\n", "<!-- end of designs -->"
HEAD = (
    "| design | what it has | area over full TMR's | drop, validation | drop, test | more cycles "
    "| stuck bits masked | meets |\n|---|---|---:|---:|---:|---:|---:|---|\n"
)


def tables(result: Mapping[str, Any]) -> str:
    """A table for every network and rate.

    Args:
        result: The benchmark's JSON.
    """
    parts = {row["part"]: row for row in result["rows"]}
    found = []
    for name, part in parts.items():
        kind, _, network = name.partition(" ")
        if kind == "cells":
            losses = {each["rate"]: each["loss"] for each in parts[f"rates {network}"]["rates"]}
            for cell in part["cells"]:
                title = (
                    f"**{network}, {cell['rate']:g} per bit and cycle**, at which it loses "
                    f"{100 * losses[cell['rate']]:.0f} points unprotected:"
                )
                found.append(f"{title}\n\n{HEAD}{''.join(_rows(cell))}")
    return "\n".join(found)


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


def with_tables(text: str, result: Mapping[str, Any]) -> str:
    """A README's text with the tables of a result."""
    return re.sub(f"{BEGIN}.*?{END}", f"{BEGIN}\n{tables(result)}\n{END}", text, flags=re.DOTALL)


def main(arguments: list[str]) -> None:
    """Rewrite the README."""
    path = Path(arguments[0]) if arguments else RESULTS
    if not path.exists():
        sys.exit(f"error: {path} is not there: run benchmarks/protection.py --json {path}")
    text = with_tables(README.read_text(), json.loads(path.read_bytes()))
    write_bytes(README, text.encode())


if __name__ == "__main__":
    main(sys.argv[1:])
