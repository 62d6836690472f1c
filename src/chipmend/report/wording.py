"""What was done with a chip, in words."""

from chipmend.fleet.ledger import SHIPPED, Bin
from chipmend.fleet.outcome import Outcome
from chipmend.recipes import merged
from chipmend.steps import (
    FAQ,
    Coded,
    Compensate,
    CompensatedFAQ,
    KeepBetter,
    Match,
    Naive,
    OneShot,
    Prune,
    Quantize,
    Recalibrate,
    Recipe,
    SequentialFAQ,
    Step,
)

CODED: dict[type[Coded], str] = {
    Naive: "nearest codes",
    FAQ: "FAQ",
    CompensatedFAQ: "compensated FAQ",
    SequentialFAQ: "sequential FAQ",
}


def in_words(recipe: Recipe) -> str:
    """What a recipe does to the network, without amounts.

    Example:
        >>> from chipmend.steps import Remap, Retrain
        >>> in_words((Remap(), Prune(), Compensate(), Retrain(epochs=0.2)))
        'remap, sequential, retrain'
        >>> in_words((Prune(), Quantize(form=FAQ())))
        'FAQ'
        >>> in_words((Prune(),))
        'prune'
    """
    done = merged(recipe)
    words = list(dict.fromkeys(_word(step) for step in done if not isinstance(step, Prune)))
    return ", ".join(words) or ("prune" if done else "nothing")


def mended_again(outcome: Outcome) -> str:
    """What became of chips that an earlier run had shipped, and what that cost; empty if none."""
    if (since := outcome.since) is None:
        return ""
    records = [record for record in outcome.records if record.chip in since.ee]
    trained_on = sum(record.is_trained_on for record in records)
    kept, patched, failed, shipped = (
        sum(record.bin in bins for record in records)
        for bins in ({Bin.KEPT}, {Bin.PATCHED}, {Bin.FAILED}, SHIPPED)
    )
    anew, lost = shipped - kept - patched - trained_on, len(records) - shipped - failed
    spent, before = sum(r.ee for r in records), sum(since.ee.values())
    return (
        f"Of {len(records)} chips that {since.run} had shipped {kept} are kept, {patched} patched, "
        f"{trained_on} trained on, {anew} mended anew, {lost} given up and {failed} failed, for "
        f"{spent:.3g} EE in all; they had cost {before:.3g} EE there."
    )


def _word(step: Step) -> str:
    match step:
        case Compensate():
            return "one-shot" if isinstance(step.form, OneShot) else "sequential"
        case Recalibrate():
            return "match" if isinstance(step.form, Match) else "re-estimate"
        case Quantize():
            return CODED[type(step.form)]
        case KeepBetter():
            return "keep the better"
        case _:
            return step.kind
