"""The usual designs, for the same table: each the smallest of its kind that meets the targets."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from chipmend.hardware.array import Array
from chipmend.protect.design.evaluation import Evaluation
from chipmend.protect.design.parameters import Design, Quantization
from chipmend.protect.search.protocol import best

Evaluate = Callable[[Design], Evaluation]
SHARES = (0.01, 0.05, 0.2, 0.5, 1.0)
"""Of the array's work, what the dot-product unit alone is given to do again."""
KINDS = (
    "no protection",
    "full TMR",
    "uniform top bits",
    "signs extended alone",
    "dot-product unit alone",
    "quantization alone",
)


def usual(
    kind: str, array: Array, evaluate: Evaluate, *, quantizations: Sequence[Quantization]
) -> Evaluation:
    """The smallest design of a kind that meets the targets, or the last that was tried.

    Args:
        kind: One of ``KINDS``.
        array: The array of the plan.
        evaluate: Evaluates a design.
        quantizations: How the network may be brought to integers.
    """
    bare = Design(rows=array.rows, cols=array.cols, accumulator_bits=array.accumulators.bits)
    if kind == "uniform top bits":
        return _fewest_bits(bare, evaluate)
    tried = list[Evaluation]()
    for design in _of_kind(kind, bare, quantizations):
        tried.append(evaluate(design))
        if tried[-1].meets:
            break
    return best(tried) or tried[-1]


def _of_kind(kind: str, bare: Design, quantizations: Sequence[Quantization]) -> Iterator[Design]:
    """Designs of a kind, in the order of their area."""
    match kind:
        case "no protection":
            yield bare
        case "full TMR":
            yield replace(bare, ordinary_bits=bare.accumulator_bits)
        case "signs extended alone":
            yield replace(bare, sign_extension=True)
        case "dot-product unit alone":
            for share in SHARES:  # as many lanes as that takes if the array is always at work
                lanes = max(1, round(share * bare.rows * bare.cols))
                yield replace(
                    bare, important=share, lanes=lanes, important_bits=bare.accumulator_bits
                ).plain()
        case "quantization alone":
            constrained = [each for each in quantizations if each != bare.quantization]
            yield from (
                replace(bare, **each._asdict()) for each in constrained or [bare.quantization]
            )
        case _:
            raise AssertionError(kind)


def _fewest_bits(bare: Design, evaluate: Evaluate) -> Evaluation:
    """The fewest bits that suffice, the more the better: found by halving."""
    enough = evaluate(replace(bare, ordinary_bits=bare.accumulator_bits))
    least, most = -1, bare.accumulator_bits
    while enough.meets and most - least > 1:
        middle = (least + most) // 2
        found = evaluate(replace(bare, ordinary_bits=middle))
        if found.meets:
            enough, most = found, middle
        else:
            least = middle
    return enough
