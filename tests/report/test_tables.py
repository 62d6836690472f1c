import io

from rich.console import Console

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
        f"{(0.5425 - 0.2625) / 3:.3f}",
        "8.0",
    ]


def test_the_markdown_table_spreads_the_analysis_over_fleets(outcome):
    row = markdown_table(outcome).splitlines()[3]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    per_chip = 2 * 0.5425 / 3
    assert cells[0] == "Reduce-max"
    assert cells[3:7] == [f"{per_chip + 6.0 / n:.3f}" for n in (float("inf"), 100, 1000, 5000)]
    assert cells[7] == f"{2 * 0.5425 + 6.0:.1f}"


def test_every_line_of_the_markdown_table_has_as_many_cells(outcome):
    assert len({line.count("|") for line in markdown_table(outcome).splitlines()}) == 1
