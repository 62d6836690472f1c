"""Tables of a campaign for terminals and for Markdown."""

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from chipmend.fleet.ledger import FLEETS, PolicySum
from chipmend.fleet.outcome import Outcome


def text_table(outcome: Outcome) -> Table:
    """What each policy came to, for a terminal.

    Args:
        outcome: What a campaign came to.

    Returns:
        Something that rich prints.
    """
    table = Table(
        title=f"{len(outcome.chips)} chips, {outcome.constraint}, clean "
        f"{100 * outcome.clean_accuracy:.2f} %",
        caption="mean and min of the chips that ship; per chip: EE epoch-equivalents, EE+ with "
        "what chips share (analysis, calibration) spread over 100, s seconds; over: EE beyond what "
        "would have sufficed, per chip that met",
        box=SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    table.add_column("policy", overflow="fold")
    for heading in ("met", "scrap", "mean %", "min %", "EE", "EE+", "over", "s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for s in outcome.sums():
        table.add_row(
            Text(s.policy),
            f"{s.met}/{s.chips}",
            str(s.scrapped),
            _percent(s.accuracy_mean),
            _percent(s.accuracy_min),
            f"{s.ee_per_chip:.3f}",
            f"{s.ee_per_chip_of(100):.3f}",
            _number(s.ee_overspent_per_chip),
            _seconds(s.seconds / s.chips),
        )
    return table


def markdown_table(outcome: Outcome) -> str:
    """What each policy came to, for a README: costs per chip in epoch-equivalents.

    The mean accuracy is that of the chips that ship; all that chips share is spread.

    Args:
        outcome: What a campaign came to.

    Returns:
        Lines of Markdown.
    """
    fleets = [f"with analysis over {fleet:,}" for fleet in FLEETS]
    headings = ["policy", "chips met", "shipped", "mean accuracy", "EE per chip", *fleets]
    headings += ["total EE", "overspent per chip met", "seconds per chip"]
    rows = [_markdown_row(s) for s in outcome.sums()]
    rule = ["---"] + ["---:"] * (len(headings) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [headings, rule, *rows]) + "\n"


def _markdown_row(s: PolicySum) -> list[str]:
    spread = [f"{s.ee_per_chip_of(fleet):.3f}" for fleet in FLEETS]
    return [
        s.policy,
        f"{s.met} of {s.chips}",
        str(s.shipped),
        f"{_percent(s.accuracy_mean)} %",
        f"{s.ee_per_chip:.3f}",
        *spread,
        f"{s.ee + s.ee_analysis + s.ee_shared:.1f}",
        _number(s.ee_overspent_per_chip),
        f"{s.seconds / s.chips:.1f}",
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds < 100 else f"{seconds:.0f}"
