"""Protection before tape-out: vulnerability against injection, and designs against the usual ones.

Quarter-width VGG11 and ResNet-18 on Fashion-MNIST, 32 x 32 PEs, accumulators of 24 bits that wrap
around; flips of accumulator bits, per bit and cycle.

Correlation: neurons' vulnerability is estimated on validation and injected on test samples, which
are others. Some neurons of many layers; the ceiling follows from how far injection agrees with
itself, by halves. What protecting a tenth of them recovers is the sum of what injection says of
each, for as many pieces as its sum has: of the tenth that estimates choose, over the tenth that
injection itself does.

Cells: both networks at three rates, those at which they lose 5, 20 and 50 points unprotected. The
design that is found, the fewest uniform top bits and full TMR, all chosen on validation with a
confidence of 95 %; within 1 point under faults, 0.3 without, 5 % more cycles; read on the test
split.

Search: VGG11 at the middle rate, five seeds, as many evaluations by chance.

Quantization: pure shifts chosen on validation and ranges of activations, and the fewest uniform
bits that suffice before and after, on 24 bits and on as few as sums need.

Two processes of a thread each. Parts that are done are kept beside the JSON and are not done again
by the same code.
"""

import itertools
import json
import multiprocessing
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from scipy.stats import spearmanr
from torch.nn.functional import cross_entropy

import chipmend as cm
from chipmend.files import write_bytes
from chipmend.fleet.design import design
from chipmend.fleet.fingerprint import digest_of_code
from chipmend.network import gemms
from chipmend.network.integer.codes import Codes
from chipmend.network.integer.graph import tensors_of
from chipmend.network.integer.network import IntegerNetwork, lowering
from chipmend.network.processor import keep_freed_memory
from chipmend.network.samples import TensorSamples, batches
from chipmend.protect.baselines import usual
from chipmend.protect.design import (
    Design,
    Evaluation,
    Evaluator,
    Quantization,
    Space,
    Subject,
    Targets,
    Variant,
)
from chipmend.protect.design.accuracy import fall, scored
from chipmend.protect.design.protection import Protection
from chipmend.protect.design.quantization import quantized
from chipmend.protect.search import Bayesian, Candidates, RandomSearch, Search, Searching, best
from chipmend.protect.study import Study
from chipmend.protect.vulnerability import Vulnerability, injected, layers_of, vulnerabilities
from chipmend.records import digest_of, plain
from chipmend.simulate import BitErrors

ARRAY = cm.Array(rows=32, cols=32, accumulators=cm.Accumulators(bits=24))
NETWORKS = ("vgg11", "resnet18")
LOSSES = (0.05, 0.20, 0.50)
BARE = Design(rows=32, cols=32, accumulator_bits=24)
FEW = Space(important=(0.0, 0.005), activation_range=(1.0, 0.5))
"""What a quick run looks at."""
SEEDS = 5
UNIFORM = ("uniform top bits", "full TMR")
CONSTRAINED = tuple(itertools.starmap(Quantization, ((0, 0.7), (4, 1.0), (4, 0.7), (4, 0.5))))
"""Ways to bring networks to integers, beside the usual one."""
Part = dict[str, Any]


class Bench:
    """What all parts of one network share.

    Args:
        name: The network.
        quick: Whether fewer samples are wanted.
    """

    def __init__(self, name: str, *, quick: bool) -> None:
        self.name, self.quick = name, quick
        self.data, self.model = cm.fashion_mnist(), cm.trained(name).eval()
        self.validation = list(batches(self.data.validation, 256))[: 4 if quick else None]
        self.test = list(batches(self.data.test, 256))[: 4 if quick else None]
        found = lowering(self.model, [self.data.train.batch(torch.arange(512))[0]])
        codes = {gemm.name: Codes.nearest(gemm.weight) for gemm in gemms(self.model)}
        self.tensors = tensors_of(self.model)
        self.network = IntegerNetwork(found, self.tensors, codes)
        self.clean = scored(self.network, self.validation)

    def brought(self, how: Quantization) -> tuple[tuple[int, ...], IntegerNetwork]:
        """The network brought to integers in a way, and the shifts that it has then."""
        return quantized(self.network, self.tensors, how, lambda found: -self.lost(found))

    def lost(self, network: IntegerNetwork) -> float:
        """Accuracy that a network lacks without flips, on validation."""
        return float(self.clean.mean() - scored(network, self.validation).mean())

    def vulnerability(
        self, samples: int, array: cm.Array = ARRAY, network: IntegerNetwork | None = None
    ) -> dict[str, Vulnerability]:
        """Estimated on the last of the validation samples."""
        order = torch.arange(len(self.data.validation))[-samples:].split(64)
        some = [self.data.validation.batch(part) for part in order]
        found = network or self.network
        return vulnerabilities(found, some, cross_entropy, array=array, seed=1)

    def evaluator(
        self, rate: float, *subjects: Subject, how: Sequence[Quantization] = (Quantization(),)
    ) -> Evaluator:
        """What evaluates designs at a rate: of the network as it is brought to integers in ways."""
        array = subjects[0].array
        return Evaluator(
            array=array,
            variants={
                (array.rows, array.cols, how): Variant(
                    subject=subject, lost=self.lost(subject.network)
                )
                for how, subject in zip(how, subjects, strict=True)
            },
            errors=BitErrors(accumulator=rate),
            targets=Targets(),
            batches=self.validation,
            clean=self.clean,
            seed=0,
        )


@lru_cache(maxsize=1)
def bench_of(name: str, *, quick: bool) -> Bench:
    """What the parts share that one process does one after the other."""
    return Bench(name, quick=quick)


def bare_subject(network: IntegerNetwork, inputs: torch.Tensor) -> Subject:
    """A subject of which nothing is known but widths: enough where nobody is important."""
    none, values = {}, network.begun(inputs[:1])
    with torch.inference_mode():
        at = 0
        for layer in layers_of(network):
            network.go_on_(values, at, layer.at)
            found = layer.accumulators(layer.inputs(values))
            none[layer.name] = Vulnerability(torch.zeros(*found.shape[:2], 24))
            at = layer.at
    return Subject.of(network, ARRAY, none)


def correlation(name: str, *, quick: bool) -> Part:
    """Estimated against injected vulnerability of some neurons of many layers."""
    bench = bench_of(name, quick=quick)
    found, fewer = (bench.vulnerability(count // 32 if quick else count) for count in (4096, 1024))
    layers = layers_of(bench.network)
    picked = layers[:: 4 if quick else max(1, len(layers) // 10)]
    count, samples = (4, 256) if quick else (-(-216 // len(picked)), 3584)
    test = [bench.data.test.batch(part) for part in torch.arange(samples).split(512)]
    generator = torch.Generator().manual_seed(0)
    rows, estimates, measures = [], [], []
    for layer in picked:
        estimated = found[layer.name].of_neurons()
        places = estimated.shape[1]
        some = torch.randperm(estimated.numel(), generator=generator)[:count]
        neurons = [divmod(int(at), places) for at in some]
        hit = injected(
            bench.network,
            layer,
            neurons,
            test,
            cross_entropy,
            array=ARRAY,
            seed=0,
            each=2,
        )
        measured = hit.nanmean((1, 2))
        which = torch.arange(samples) // 8 % 2  # every bit is flipped in either half
        agreed = _rank_correlation(*(hit[:, :, which == part].nanmean((1, 2)) for part in (0, 1)))
        reliability = 2 * agreed / (1 + agreed)  # of all samples together
        here = estimated.flatten()[some]
        passes = -(-layer.layer.shape.inputs * layer.layer.shape.kernel // ARRAY.rows)
        estimates += (here * passes).tolist()
        measures += (measured * passes).tolist()
        rows.append(
            {
                "layer": layer.name,
                "neurons": len(neurons),
                "spearman": _rank_correlation(here, measured),
                "spearman_of_1024": _rank_correlation(
                    fewer[layer.name].of_neurons().flatten()[some], measured
                ),
                "split_half": agreed,
                "reliability": reliability,
                "ceiling": max(0.0, reliability) ** 0.5,  # what a perfect estimate would reach
            }
        )
    top = max(1, round(len(estimates) / 10))
    by_estimate = np.argsort(estimates)[::-1][:top]
    recovered = np.array(measures)[by_estimate].sum() / np.sort(measures)[::-1][:top].sum()
    return {"layers": rows, "top10_recovery": float(recovered)}


def _rank_correlation(first: torch.Tensor, second: torch.Tensor) -> float:
    found: Any = spearmanr(first, second)
    return float(found.statistic)


def rates(name: str, *, quick: bool) -> Part:
    """Rates at which the unprotected network loses 5, 20 and 50 points, on validation."""
    bench = bench_of(name, quick=quick)
    subject = bare_subject(bench.network, bench.validation[0][0])

    def lost(rate: float) -> float:
        protection = Protection(BARE, subject, BitErrors(accumulator=rate))
        return fall(protection, bench.validation, bench.clean, 0.01, seed=9, whole=True).drop

    found = []
    for wanted in LOSSES:
        low, high = np.log(3e-7), np.log(3e-5)
        for _ in range(4 if quick else 7):
            middle = (low + high) / 2
            low, high = (low, middle) if lost(float(np.exp(middle))) > wanted else (middle, high)
        rate = float(f"{np.exp((low + high) / 2):.2g}")
        found.append({"loss": wanted, "rate": rate, "lost": lost(rate)})
    return {"rates": found}


def cells(name: str, at: Sequence[float], folder: Path, *, quick: bool) -> Part:
    """The design that is found at every rate, beside the usual ones."""
    bench = bench_of(name, quick=quick)
    data = bench.data
    validation, test = (
        TensorSamples(*part.batch(torch.arange(1024 if quick else len(part))))
        for part in (data.validation, data.test)
    )
    task = cm.Task(bench.model, train=data.train, validation=validation, test=test)
    searching = Searching(
        evaluations=4 if quick else 30,
        by_chance=not quick,
        estimating=128 if quick else 512,
        injected=0,
    )
    space = FEW if quick else Space(shifts=(0, 4))
    outcome = design(
        task,
        array=ARRAY,
        errors=[BitErrors(accumulator=rate) for rate in at],
        space=space,
        searching=searching,
        run=folder,
        threads=1,
    )
    targets, found = outcome.targets, []
    for study in outcome.studies:
        row = study.found
        assert row.test is not None
        assert row.lost_on_test is not None
        everything = [*study.searched, *(each.evaluation for each in study.rows)]
        without = best(e for e in everything if not e.design.lanes)
        with_unit = best(e for e in everything if e.design.lanes)
        found.append(
            {
                "rate": study.errors.accumulator,
                "designs": [
                    {
                        "name": each.name,
                        "design": plain(each.evaluation.design),
                        "first": each.evaluation.first,
                        "last": each.evaluation.last,
                        "overhead": each.evaluation.costs.overhead,
                        "slowdown": each.evaluation.costs.slowdown,
                        "meets": each.evaluation.meets,
                        "validation": plain(each.evaluation.fall),
                        "test": plain(each.test),
                        "lost": each.evaluation.lost,
                        "lost_on_test": each.lost_on_test,
                        "masked": plain(each.masked),
                    }
                    for each in study.rows
                ],
                "unmet": study.unmet,
                "other_than_uniform": _least_but_uniform(study),
                "found_by": study.by,
                "meets_on_test": study.meets
                and row.test.drop <= targets.drop_under_faults
                and row.lost_on_test <= targets.drop_without_faults
                and row.evaluation.costs.slowdown <= targets.slowdown,
                "least_without_unit": without and without.costs.overhead,
                "least_with_unit": with_unit and with_unit.costs.overhead,
                "evaluations": len(study.searched),
            }
        )
    return {"cells": found, "clean": outcome.clean_accuracy}


def _least_but_uniform(study: Study) -> float | None:
    """The least overhead that meets the targets, designs of uniform bits alone left out."""
    every = [*study.searched, *(row.evaluation for row in study.rows)]
    alone = {study.row(name).evaluation.design for name in UNIFORM}
    return min((e.costs.overhead for e in every if e.meets and e.design not in alone), default=None)


def searches(name: str, rate: float, *, quick: bool) -> Part:
    """Bayesian search against search by chance, at as many evaluations.

    Every seed has flips of its own. Search by chance comes in two kinds: of all candidates, and of
    those that are smaller than the best so far.
    """
    bench = bench_of(name, quick=quick)
    space = FEW if quick else Space()
    how = space.quantizations
    subjects = [
        Subject.of(network, ARRAY, bench.vulnerability(128 if quick else 1024, network=network))
        for network in (bench.brought(each)[1] for each in how)
    ]
    first, rows = bench.evaluator(rate, *subjects, how=how), []
    candidates = Candidates.of(space, ARRAY, first, seed=0)
    for seed in range(1 if quick else SEEDS):
        evaluator = replace(first, seed=seed)
        known = dict[Design, Evaluation]()
        of_kind = {
            kind: areas(search, evaluator, known, 6 if quick else 30)
            for kind, search in {
                "bayesian": Bayesian(candidates, evaluator.targets, seed=seed),
                "random": RandomSearch(candidates, seed=seed),
                "random_smaller": RandomSearch(candidates, seed=seed, smaller=True),
            }.items()
        }
        rows.append({"seed": seed, **of_kind, "needed": needed(*of_kind.values())})
    return {"candidates": len(candidates), "seeds": rows}


def areas(
    search: Search, evaluator: Evaluator, known: dict[Design, Evaluation], count: int
) -> list[float | None]:
    """The least area so far, after every evaluation; none as long as no design suffices."""
    seen, least = list[float | None](), None
    while len(seen) < count and (found := search.ask()) is not None:
        if found not in known:
            known[found] = evaluator(found)
        search.tell(known[found])
        least = best(each for each in (least, known[found]) if each is not None)
        seen.append(least and least.costs.overhead)
    return seen


def needed(
    bayesian: list[float | None], random: list[float | None], _: list[float | None]
) -> float | None:
    """The share of evaluations after which Bayesian search is where search by chance ends.

    More than 1 if it never is, and none if search by chance finds nothing.
    """
    if random[-1] is None:
        return None
    there = [at for at, area in enumerate(bayesian, 1) if area is not None and area <= random[-1]]
    return min(there) / len(random) if there else 2.0


def quantization(name: str, rate: float, *, quick: bool) -> Part:
    """What constraints cost without flips, and how many bits need protection then."""
    bench = bench_of(name, quick=quick)
    right_on_test, rows = scored(bench.network, bench.test).mean(), []
    for how in (Quantization(), *(CONSTRAINED[1:3] if quick else CONSTRAINED)):
        found, network = bench.brought(how)
        subject = bare_subject(network, bench.validation[0][0])
        row = {
            "quantization": how._asdict(),
            "shifts": list(found),
            "lost_on_validation": bench.lost(network),
            "lost_on_test": float(right_on_test - scored(network, bench.test).mean()),
            "widest": subject.widest,
        }
        for width, label in ((24, "bits_of_24"), (subject.widest, "bits_of_narrow")):
            array = replace(ARRAY, accumulators=cm.Accumulators(bits=width))
            narrow = Subject(
                network, array, tuple(_cut(la, width) for la in subject.layers), subject.pairs
            )
            evaluator = bench.evaluator(rate, narrow)
            fewest = usual("uniform top bits", array, evaluator, evaluator.known)
            row[label] = fewest.design.ordinary_bits if fewest.meets else None
            row[f"{label}_fall"] = plain(fewest.fall)
        rows.append(row)
    return {"rate": rate, "rows": rows}


def _cut(layer: Any, width: int) -> Any:
    return replace(layer, change=layer.change[..., :width])


def figures_of(parts: Mapping[str, Part], networks: Sequence[str]) -> dict[str, float | None]:
    """The numbers that claims rest on."""
    layers = [row for name in networks for row in parts[f"correlation {name}"]["layers"]]
    every = [cell for name in networks for cell in parts[f"cells {name}"]["cells"]]
    seeds = parts[f"searches {networks[0]}"]["seeds"]
    rows = [parts[f"quantization {name}"]["rows"] for name in networks]
    alone, both = ([_constrained(each, ranges) for each in rows] for ranges in ((1.0,), (0.7, 0.5)))
    uniform, full = (
        [_over(cell, name) for cell in every] for name in ("uniform top bits", "full TMR")
    )
    needed = [each["needed"] for each in seeds if each["needed"] is not None]
    return {
        "spearman_min": min(row["spearman"] for row in layers),
        "spearman_ceiling_min": min(row["ceiling"] for row in layers),
        "top10_recovery_min": min(parts[f"correlation {n}"]["top10_recovery"] for n in networks),
        "overhead_over_uniform_tmr_max": _finite(max(uniform)),
        "overhead_over_uniform_tmr_median": _finite(statistics.median(uniform)),
        "overhead_over_full_tmr_max": _finite(max(full)),
        "cells_met_on_test": float(sum(cell["meets_on_test"] for cell in every)),
        "wins_over_random_of_5": float(wins(seeds, "random")),
        "wins_over_smaller_random_of_5": float(wins(seeds, "random_smaller")),
        "evaluations_over_random": statistics.median(needed) if needed else None,
        "shift_constraint_loss": max(100 * after["lost_on_test"] for _, after in alone),
        "protected_bits_saved": _saved(alone, "bits_of_narrow"),
        "protected_bits_saved_of_24": _saved(alone, "bits_of_24"),
        "shift_and_range_loss": max(100 * after["lost_on_test"] for _, after in both),
        "protected_bits_saved_with_range": _saved(both, "bits_of_narrow"),
        "protected_bits_saved_with_range_of_24": _saved(both, "bits_of_24"),
    }


def _over(cell: Mapping[str, Any], name: str) -> float:
    """The least design of another kind, over a usual one; infinite if either misses a target."""
    usual_one = next(each for each in cell["designs"] if each["name"] == name)
    if cell["other_than_uniform"] is None or not usual_one["meets"]:
        return np.inf
    return cell["other_than_uniform"] / usual_one["overhead"]


def _finite(figure: float) -> float | None:
    return figure if np.isfinite(figure) else None


def wins(seeds: Sequence[Mapping[str, Any]], opponent: str) -> int:
    """In how many seeds Bayesian search ends with less area than another search."""
    ends = [(each["bayesian"][-1], each[opponent][-1]) for each in seeds]
    return sum(own is not None and (other is None or own < other) for own, other in ends)


def _constrained(
    rows: Sequence[Mapping[str, Any]], ranges: Sequence[float]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Before, and with the shifts that need fewest bits, of those that cost 0.3 points at most.

    Only those with some ranges of activations are looked at.

    Both are of validation; of several that need as many, those are taken that cost least.
    """

    def needed(row: Mapping[str, Any]) -> tuple[float, float, float]:
        bits = (row["bits_of_narrow"], row["bits_of_24"])
        narrow, wide = (np.inf if each is None else each for each in bits)
        return narrow, wide, row["lost_on_validation"]

    shifted = [
        row
        for row in rows
        if row["quantization"]["shifts"] and row["quantization"]["activation_range"] in ranges
    ]
    allowed = [row for row in shifted if row["lost_on_validation"] <= 0.003]
    return rows[0], min(allowed or shifted, key=needed)


def _saved(
    counted: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], name: str
) -> float | None:
    """How many bits fewer need protection, in the worst case."""
    bits = [(before[name], after[name]) for before, after in counted]
    if any(None in each for each in bits):
        return None
    return float(min(before - after for before, after in bits))


class Parts:
    """Parts that are done, kept beside the result."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.folder = folder
        self._code = digest_of([digest_of_code(), Path(__file__).read_text(), quick])

    def run(self, name: str) -> Path:
        """A folder for a run, which the same code goes on with."""
        return self.folder / f"run {name} {self._code[:12]}"

    def get(self, name: str) -> Part | None:
        """What a part came to; none if it is still to do."""
        try:
            kept = json.loads((self.folder / f"{name}.json").read_bytes())
        except (OSError, ValueError):
            return None
        return kept["part"] if kept["code"] == self._code else None

    def keep(self, name: str, part: Part) -> None:
        """Keep what a part came to."""
        content = json.dumps({"code": self._code, "part": part}, allow_nan=False)
        write_bytes(self.folder / f"{name}.json", content.encode())


def done(
    pool: Executor,
    parts: Parts,
    wanted: Mapping[str, tuple[Callable[..., Part], tuple[Any, ...]]],
    *,
    quick: bool,
) -> dict[str, Part]:
    """Do what is not done yet."""
    found = {name: parts.get(name) for name in wanted}
    left = {
        pool.submit(function, *given, quick=quick): name
        for name, (function, given) in wanted.items()
        if found[name] is None
    }
    for future in as_completed(left):
        found[left[future]] = future.result()
        parts.keep(left[future], future.result())
        print(f"{left[future]}: done", flush=True)
    return {name: part for name, part in found.items() if part is not None}


def begin() -> None:
    """Set a worker up."""
    keep_freed_memory()
    torch.set_num_threads(1)


def main() -> None:
    options = record.arguments(__doc__)
    quick = options.quick
    networks = NETWORKS[:1] if quick else NETWORKS
    folder = options.json.with_suffix(".parts")
    parts = Parts(folder, quick=quick)
    first: dict[str, tuple[Callable[..., Part], tuple[Any, ...]]] = {
        f"rates {n}": (rates, (n,)) for n in reversed(networks)
    }
    first[f"correlation {networks[0]}"] = (correlation, (networks[0],))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, initializer=begin) as pool:
        found = done(pool, parts, first, quick=quick)
        at = {n: [each["rate"] for each in found[f"rates {n}"]["rates"]] for n in networks}
        wanted: dict[str, tuple[Callable[..., Part], tuple[Any, ...]]] = {}
        for name in reversed(networks):  # the longest first
            these = at[name][1:2] if quick else at[name]
            wanted[f"cells {name}"] = (cells, (name, these, parts.run(name)))
        for name in networks[1:]:
            wanted[f"correlation {name}"] = (correlation, (name,))
        wanted[f"searches {networks[0]}"] = (searches, (networks[0], at[networks[0]][1]))
        for name in networks:
            wanted[f"quantization {name}"] = (quantization, (name, at[name][1]))
        found |= done(pool, parts, wanted, quick=quick)
    rows = [{"part": name, **part} for name, part in found.items()]
    record.write("protection", options, figures_of(found, networks), rows)


if __name__ == "__main__":
    main()
