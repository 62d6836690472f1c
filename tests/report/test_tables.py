import io
from dataclasses import replace

from rich.console import Console

from chipmend.repairs import Cost
from chipmend.report import markdown_table, text_table


def test_the_terminal_table_fits_and_says_the_sums(outcome):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(text_table(outcome))
    text = console.export_text()
    row = next(line for line in text.splitlines() if "Reduce-max" in line)
    cells = row.split()
    per_chip = 2 * 0.5425 / 3
    assert cells == [
        "Reduce-max",
        "1/3",
        "2",
        "91.00",
        "91.00",
        f"{per_chip:.3f}",
        f"{per_chip + 6.0 / 100:.3f}",
        f"{0.5425 - 0.2625:.3f}",
        "8.0",
    ]


def test_no_number_is_cut_off_however_long_names_and_lots_are(outcome):
    """The names of the study, 1,000 chips, and all costs at their widest."""
    names = ["Fixed(0.25, decaying)", "[/b]", "[red]Reduce[/red]", "a label of thirty characters!!"]
    chips = [replace(outcome.chips[0], chip=f"c{n}") for n in range(1000)]
    records = [
        replace(
            outcome.records[0],
            policy=name,
            chip=chip.chip,
            cost=Cost(retrain=1.2345, seconds=9876.0),
        )
        for name in names
        for chip in chips
    ]
    large = replace(
        outcome,
        policies={name: {} for name in names},
        shared={name: Cost() for name in names},
        tables={},
        records=records,
        chips=chips,
    )
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(text_table(large))
    text = console.export_text()
    assert "…" not in text
    for heading in ("met", "scrap", "mean %", "min %", "EE+", "over"):
        assert heading in text
    assert text.count("1000/1000") == 4
    assert text.count("9876") == 4
    assert "[/b]" in text
    assert "[red]" in text


def test_the_markdown_table_spreads_the_analysis_over_fleets(outcome):
    row = markdown_table(outcome).splitlines()[3]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    per_chip = 2 * 0.5425 / 3
    assert cells[0] == "Reduce-max"
    assert cells[1:4] == ["1 of 3", "1", "91.00 %"]
    assert cells[4:8] == [f"{per_chip + 6.0 / n:.3f}" for n in (float("inf"), 100, 1000, 5000)]
    assert cells[8:10] == [f"{2 * 0.5425 + 6.0:.1f}", f"{0.5425 - 0.2625:.3f}"]


def test_calibration_is_spread_like_the_analysis(outcome):
    made = replace(outcome, shared={**outcome.shared, "Reduce-max": Cost(algebra=4.0)})
    cells = [cell.strip() for cell in markdown_table(made).splitlines()[3].split("|")]
    per_chip = 2 * 0.5425 / 3
    assert cells[5:9] == [f"{per_chip + 10 / n:.3f}" for n in (float("inf"), 100, 1000, 5000)]
    assert cells[9] == f"{2 * 0.5425 + 10:.1f}"
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(text_table(made))
    assert f"{per_chip + 10 / 100:.3f}" in console.export_text()


def test_every_line_of_the_markdown_table_has_as_many_cells(outcome):
    assert len({line.count("|") for line in markdown_table(outcome).splitlines()}) == 1
