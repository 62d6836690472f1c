"""Write what ``fleet_decisions.py`` measured into the documentation.

    python benchmarks/decisions/tables.py [benchmarks/results/fleet_decisions.json]

Each table lies between two comments with its name.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from chipmend.files import write_bytes

HERE = Path(__file__).parents[2]
RESULT = HERE / "benchmarks" / "results" / "fleet_decisions.json"
CONCEPTS = HERE / "docs" / "concepts"
Row = Mapping[str, Any]
Rows = Sequence[Row]


def coverage(rows: Rows) -> str:
    """Promised and measured."""
    head = ("policy", "promised", "tested on", "draws", "ship", "measured", "5 to 95 %", "epochs")
    return _table(head, [_covered(row) for row in _of(rows, "coverage")], words=(0, 2))


def _covered(row: Row) -> tuple[str, ...]:
    """A line of it; of draws those count in which anything ships."""
    promised = "nothing" if row["promised"] is None else _percent(row["promised"], 0)
    told = (row["policy"], promised, row["tested_on"], f"{row['draws']} of {row['of_draws']}")
    if not row["draws"]:
        return (*told, f"0 of {row['tested']}", "-", "-", "")
    return (
        *told,
        f"{row['shipped']:.0f} of {row['tested']}",
        _percent(row["measured"]),
        f"{_percent(row['measured_low'])} to {_percent(row['measured_high'])}",
        "" if row["policy"] == "Cascade" else f"{row['spent']:.3f}",
    )


def fresh_lot(rows: Rows) -> str:
    """What a fresh lot came to on the test split."""
    head = ("policy", "ship", "met", "unseen", "of them met", "share", "EE per chip")
    return _table(
        head,
        [
            (
                row["policy"],
                f"{row['shipped']} of {row['chips']}",
                f"{row['met']}",
                f"{row['unseen']}",
                f"{row['unseen_met']}",
                _percent(row["unseen_met"] / row["unseen"]) if row["unseen"] else "-",
                f"{row['ee_per_chip']:.3f}",
            )
            for row in _of(rows, "fresh lot")
        ],
    )


def fused_lot(rows: Rows) -> str:
    """A lot whose chips share dead columns."""
    return _campaigns(_of(rows, "fused lot"))


def shift_check(rows: Rows) -> str:
    """How often the shift check fires."""
    head = ("array", "fault rates", "uniform", "clustered", "lines")
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in _of(rows, "shift check"):
        low, high = row["rate"]
        where = f"{row['array']} x {row['array']}", f"{100 * low:g} to {100 * high:g} %"
        found.setdefault(where, {})[row["lots_of"]] = f"{row['fired']} of {row['lots']}"
    return _table(head, [(*where, *(by[kind] for kind in head[2:])) for where, by in found.items()])


def plans(rows: Rows) -> str:
    """Epochs that eFAT plans over those that Reduce does."""
    head = ("lot", "Reduce, epochs", "eFAT, epochs", "eFAT over Reduce", "networks per 100 chips")
    kinds: dict[tuple[bool, str], list[Row]] = {}
    for row in _of(rows, "plans of eFAT"):
        kinds.setdefault((row["shares"], row["lot"]), []).append(row)
    return _table(
        head,
        [
            (
                f"sharing {lot}" if shares else lot,
                f"{_mean(each, 'reduce'):.2f}",
                f"{_mean(each, 'efat'):.2f}",
                f"{_mean(each, 'efat') / (_mean(each, 'reduce') or 1):.2f}",
                f"{_mean(each, 'groups'):.0f}",
            )
            for (shares, lot), each in kinds.items()
        ],
    )


def incomplete(rows: Rows) -> str:
    """What hidden and invented faults do."""
    head = ("policy", "hidden", "invented", "margin", "ship", "of them met", "least")
    head = (*head, "EE per chip", "EE shared")
    return _table(
        head,
        [
            (
                row["policy"],
                _percent(row["hidden"], 0),
                _percent(row["spurious"], 0),
                {None: "none", 0.0: "not hardened"}.get(row["hardened"], "hardened"),
                f"{row['shipped']} of {row['chips']}",
                f"{row['met']}",
                _percent(row["accuracy_min"], 2),
                f"{row['ee_per_chip']:.3f}",
                f"{row['ee_shared']:.1f}",
            )
            for row in _of(rows, "incomplete maps")
        ],
        words=(0, 3),
    )


def again(rows: Rows) -> str:
    """What mending again costs."""
    head = ("lot", "mended", "met", "mean accuracy", "EE per chip", "seconds per chip")
    return _table(
        head,
        [
            (
                row["lot"],
                {"first": "before", "again": "again", "anew": "anew"}[row["when"]],
                f"{row['met']} of {row['chips']}",
                _percent(row["accuracy_mean"], 2),
                f"{row['ee_per_chip']:.4f}",
                f"{row['seconds_per_chip']:.1f}",
            )
            for row in _of(rows, "mended again")
        ],
        words=(0, 1),
    )


PLACES: dict[str, tuple[Path, Callable[[Rows], str]]] = {
    "coverage": (CONCEPTS / "coverage.md", coverage),
    "fresh lot": (CONCEPTS / "coverage.md", fresh_lot),
    "shift check": (CONCEPTS / "coverage.md", shift_check),
    "incomplete maps": (CONCEPTS / "incomplete.md", incomplete),
    "mended again": (CONCEPTS / "again.md", again),
    "plans of eFAT": (CONCEPTS / "fusing.md", plans),
    "fused lot": (CONCEPTS / "fusing.md", fused_lot),
}
"""Where each table is, by its name."""


def rewritten(name: str, text: str, rows: Rows) -> str:
    """A page with one of its tables as a result has it.

    Raises:
        ValueError: The page has no such table.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    table = PLACES[name][1](rows)
    made, count = re.subn(
        f"{begin}.*?{end}", lambda _: f"{begin}\n{table}\n{end}", text, flags=re.DOTALL
    )
    if count != 1:
        raise ValueError(f"{count} tables named {name}")
    return made


def main(arguments: list[str]) -> None:
    """Rewrite all tables."""
    rows = json.loads(Path(arguments[0] if arguments else RESULT).read_bytes())["rows"]
    for name, (path, _) in PLACES.items():
        write_bytes(path, rewritten(name, path.read_text(), rows).encode())


def _campaigns(rows: Rows) -> str:
    head = ("policy", "ship", "met", "mean accuracy", "EE per chip", "seconds per chip")
    return _table(
        head,
        [
            (
                row["policy"],
                f"{row['shipped']} of {row['chips']}",
                f"{row['met']}",
                _percent(row["accuracy_mean"], 2),
                f"{row['ee_per_chip']:.3f}",
                f"{row['seconds_per_chip']:.1f}",
            )
            for row in rows
        ],
    )


def _of(rows: Rows, part: str) -> list[Row]:
    return [row for row in rows if row["part"] == part]


def _mean(rows: Rows, name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)


def _percent(share: float | None, digits: int = 1) -> str:
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[int] = (0,)) -> str:
    rules = ["---" if at in words else "---:" for at in range(len(head))]
    lines = [head, rules, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main(sys.argv[1:])
