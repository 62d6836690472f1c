"""Where a dot-product unit pays: the smallest designs with and without one, on several arrays.

Quarter-width VGG11 on Fashion-MNIST at the rate of the middle cell of ``protection.py``, on
validation. Arrays of three sizes with accumulators of 24 bits, one with 20; signs extended at the
ends of columns, and not. Activations reach as far as ever: with half of their range, signs extended
alone suffice at this rate.

Without a unit the smallest design is known for sure: the fewest top bits of all PEs, by halving.
With one Bayesian search looks for a smaller one, and for nothing else.
"""

import itertools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import record
from protection import begin, bench_of

import chipmend as cm
from chipmend.protect.baselines import fewest_bits
from chipmend.protect.design import Design, Evaluation, Space, Subject
from chipmend.protect.search import Bayesian, Candidates, best
from chipmend.records import plain

RATE = 2e-6
ARRAYS = ((16, 24), (32, 24), (32, 20), (128, 24))
"""Rows and columns, and bits of accumulators."""
LOOKED_AT = 40
"""Designs with a unit that are evaluated for each array."""
Job = tuple[tuple[int, int], bool, bool]


def smallest(job: Job) -> dict[str, object]:
    """The smallest designs of one array, without and with a unit.

    Args:
        job: The array, whether signs are extended, whether less is wanted.
    """
    (size, bits), extended, quick = job
    bench = bench_of("vgg11", quick=quick)
    array = cm.Array(rows=size, cols=size, accumulators=cm.Accumulators(bits=bits))
    subject = Subject.of(bench.network, array, bench.vulnerability(128 if quick else 1024, array))
    evaluator, tried = bench.evaluator(RATE, subject), dict[Design, Evaluation]()

    def evaluate(design: Design) -> Evaluation:
        tried[design] = tried.get(design) or evaluator(design)
        return tried[design]

    bare = Design(rows=size, cols=size, accumulator_bits=bits, sign_extension=extended)
    alone = fewest_bits(bare, evaluate)
    space = Space(
        sign_extension=(extended,),
        important=tuple(share for share in Space().important if share),
        lanes=tuple(size * size // part for part in (256, 128, 64, 32)),
        activation_range=(1.0,),
    )
    candidates = Candidates.of(space, array, evaluator, seed=0)
    search = Bayesian(candidates, evaluator.targets, seed=0)
    for evaluation in list(tried.values()):
        search.tell(evaluation)
    for _ in range(2 if quick else LOOKED_AT):
        if (asked := search.ask()) is None:
            break
        search.tell(evaluate(asked))
    unit = best(evaluation for evaluation in tried.values() if evaluation.design.lanes)
    full = evaluator.known(replace(bare, sign_extension=False, ordinary_bits=bits)).costs.overhead
    return {
        "size": size,
        "accumulator_bits": bits,
        "signs_extended": extended,
        "alone_over_full": alone.costs.overhead / full if alone.meets else None,
        "unit_over_full": unit and unit.costs.overhead / full,
        "alone": plain(alone),
        "unit": unit and plain(unit),
        "evaluations": len(tried),
    }


def figures_of(rows: list[dict[str, object]]) -> dict[str, float | None]:
    """In how many places a unit pays, and how much at best."""
    ratios = [
        row["unit_over_full"] / row["alone_over_full"]  # pyright: ignore[reportOperatorIssue]
        for row in rows
        if row["unit_over_full"] and row["alone_over_full"]
    ]
    return {
        "unit_pays_share": sum(ratio < 1 for ratio in ratios) / len(rows),
        "unit_over_bits_alone_min": min(ratios, default=None),
    }


def main() -> None:
    options = record.arguments(__doc__)
    arrays = ARRAYS[:1] if options.quick else ARRAYS
    jobs = [
        (array, extended, options.quick)
        for array, extended in itertools.product(arrays, (False, True))
    ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, initializer=begin) as pool:
        rows = list(pool.map(smallest, jobs))
    record.write("protection_map", options, figures_of(rows), rows)


if __name__ == "__main__":
    main()
