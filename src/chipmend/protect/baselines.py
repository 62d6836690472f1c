"""The usual designs, for the same table: each the smallest of its kind that meets the targets."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from chipmend.hardware.array import Array
from chipmend.protect.design.evaluation import Evaluation
from chipmend.protect.design.parameters import Design, Quantization
from chipmend.protect.search.protocol import best

Evaluate = Callable[[Design], Evaluation]
SHARES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
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
    kind: str,
    array: Array,
    evaluate: Evaluate,
    known: Evaluate,
    *,
    quantizations: Sequence[Quantization] = (),
) -> Evaluation:
    """The smallest design of a kind that meets the targets, or the last that was tried.

    Args:
        kind: One of ``KINDS``.
        array: The array of the plan.
        evaluate: Evaluates a design.
        known: Says what is known of one before it is evaluated.
        quantizations: How the network may be brought to integers, for the last kind.
    """
    bare = Design(rows=array.rows, cols=array.cols, accumulator_bits=array.accumulators.bits)
    match kind:
        case "no protection":
            return evaluate(bare)
        case "full TMR":
            return evaluate(replace(bare, ordinary_bits=bare.accumulator_bits))
        case "uniform top bits":
            return fewest_bits(bare, evaluate)
        case "signs extended alone":
            return evaluate(replace(bare, sign_extension=True))
        case "dot-product unit alone":
            return _least([_with_unit(bare, share, known) for share in SHARES], evaluate)
        case "quantization alone":
            return _first_met(_quantized(bare, quantizations), evaluate)
        case _:
            raise AssertionError(kind)


def fewest_bits(bare: Design, evaluate: Evaluate) -> Evaluation:
    """The fewest bits of all PEs that suffice, or all of them.

    Args:
        bare: The design without protected bits.
        evaluate: Evaluates a design.
    """
    bits = range(bare.accumulator_bits + 1)
    return _least([replace(bare, ordinary_bits=count) for count in bits], evaluate)


def _least(designs: Sequence[Design], evaluate: Evaluate) -> Evaluation:
    """Of designs, the more protection the later, the first that meets the targets, by halving."""
    enough, least, most = evaluate(designs[-1]), -1, len(designs) - 1
    while enough.meets and most - least > 1:
        middle = (least + most) // 2
        if (found := evaluate(designs[middle])).meets:
            enough, most = found, middle
        else:
            least = middle
    return enough


def _with_unit(bare: Design, share: float, known: Evaluate) -> Design:
    """The least dot-product unit that does a share of the work again and is not too slow."""
    columns = range(bare.rows, 2 * bare.rows * bare.cols + 1, bare.rows)
    lanes = [each for each in range(1, bare.rows) if bare.rows % each == 0]
    found = bare
    for count in (*lanes, *columns):
        found = replace(bare, important=share, lanes=count, important_bits=bare.accumulator_bits)
        if "slowdown" not in known(found).missed:
            break
    return found


def _quantized(bare: Design, quantizations: Sequence[Quantization]) -> Iterator[Design]:
    constrained = [each for each in quantizations if each != bare.quantization]
    for each in constrained or [bare.quantization]:
        yield replace(bare, **each._asdict())


def _first_met(designs: Iterator[Design], evaluate: Evaluate) -> Evaluation:
    """Of designs of the same area the first that meets the targets, or the last."""
    tried = list[Evaluation]()
    for design in designs:
        tried.append(evaluate(design))
        if tried[-1].meets:
            break
    return best(tried) or tried[-1]
