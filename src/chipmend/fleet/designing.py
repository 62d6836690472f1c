"""A search for protection as jobs: designs are asked for, evaluated by an executor, and kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from chipmend.errors import ConstraintError, WorkerError
from chipmend.fleet.executor import Tick
from chipmend.fleet.runner import Runner
from chipmend.protect.baselines import KINDS, fewest_bits, usual
from chipmend.protect.design.accuracy import scored
from chipmend.protect.design.evaluation import Evaluation, Evaluator
from chipmend.protect.design.parameters import Design, Quantization, Space
from chipmend.protect.design.permanent import masked
from chipmend.protect.search import Bayesian, Candidates, RandomSearch, Search, SobolGreedy, best
from chipmend.protect.study import Row, Study
from chipmend.protect.vulnerability.slopes import Batch
from chipmend.records import digest_of, plain, rebuilt


@dataclass(frozen=True, eq=False)
class Evaluating:
    """Evaluates designs: picklable, and the same for every worker."""

    evaluator: Evaluator

    def __call__(self, job: Design, tick: Tick) -> dict[str, Any]:
        """Evaluate a design; an ``Evaluation``, as JSON can hold it."""
        return plain(self.evaluator(job, tick))


@dataclass(frozen=True, eq=False)
class Designing:
    """The search at one rate of flips.

    Args:
        evaluator: Evaluates designs on validation.
        space: The space.
        runner: Has designs evaluated, and keeps what they come to.
        name: Of the rate, in the store and in what people are told.
        seed: Of the searches.
        at_once: How many designs are evaluated side by side.
        split: What they are evaluated on.
    """

    evaluator: Evaluator
    space: Space
    runner: Runner
    name: str
    seed: int
    at_once: int = 1
    split: Literal["validation", "test"] = "validation"

    def study(self, method: str, evaluations: int, *, by_chance: bool) -> Study:
        """Search, and compare with the usual designs.

        Args:
            method: ``bayesian`` or ``sobol-greedy``.
            evaluations: How many designs are evaluated.
            by_chance: Whether a search by chance is to be compared with, at as many evaluations.

        Raises:
            ConstraintError: Of no design it is known beforehand that it may meet the targets.
        """
        array = self.evaluator.array
        progress = self.runner.progress
        progress.phase(f"areas and cycles of all designs, {self.name}", 1, 0)
        progress.job_begun()
        candidates = Candidates.of(self.space, array, self.evaluator, seed=self.seed)
        progress.job_done()
        if not len(candidates):
            raise nothing_may_meet(self.space, self.evaluator)
        search: Search = (
            Bayesian(candidates, self.evaluator.targets, seed=self.seed)
            if method == "bayesian"
            else SobolGreedy(candidates, self.space, array, seed=self.seed)
        )
        rows = self._usual()
        for row in rows:  # what is known already is told, too
            search.tell(row.evaluation)
        found = self._searched(search, "search", evaluations)
        if by_chance:
            random = RandomSearch(candidates, seed=self.seed, smaller=True)
            for row in rows:
                random.tell(row.evaluation)
            tried = self._searched(random, "search by chance", evaluations)
            rows.append(_row("search by chance", [*tried, *(row.evaluation for row in rows)]))
        everything = [*found, *(row.evaluation for row in rows)]
        chosen = best(everything) or _nearest(everything)
        by = next((row.name for row in rows if row.evaluation.design == chosen.design), "search")
        if any(each.design == chosen.design for each in found):
            by = "search"
        rows += self._uniform_as(chosen.design)
        rows.append(Row(name="found", evaluation=chosen))
        return Study(
            errors=self.evaluator.errors,
            rows=tuple(rows),
            searched=tuple(found),
            by=by,
            unmet=None if chosen.meets else self._unmet(chosen, len(everything)),
            left_out=candidates.left_out,
        )

    def tested(
        self, study: Study, samples: list[Batch], clean: Float64[np.ndarray, " samples"]
    ) -> Study:
        """A study with what its designs do on the test split.

        Args:
            study: The study.
            samples: The test split.
            clean: Scores of the reference on it.
        """
        on_test = replace(
            self.evaluator,
            batches=samples,
            clean=clean,
            seed=self.evaluator.seed + 1,
            whole=True,
        )
        designs = [row.evaluation.design for row in study.rows]
        found = replace(self, evaluator=on_test, split="test")._evaluated(designs, "test split")
        most, lost = self.evaluator.most_cycles, self._lost(on_test)
        rows = [
            replace(
                row,
                test=read.fall,
                lost_on_test=lost[read.design.quantization],
                masked=masked(self.evaluator.protection(read.design), most),
            )
            for row, read in zip(study.rows, found, strict=True)
        ]
        return replace(study, rows=tuple(rows))

    def _lost(self, evaluator: Evaluator) -> dict[Quantization, float]:
        """What ways to bring the network to integers cost on an evaluator's samples."""
        networks = {how: v.subject.network for (*_, how), v in evaluator.variants.items()}
        return {
            how: float(
                evaluator.clean.mean() - scored(network, evaluator.batches, evaluator.metric).mean()
            )
            for how, network in networks.items()
        }

    def _searched(self, search: Search, what: str, count: int) -> list[Evaluation]:
        asked, told = list[Design](), list[Evaluation]()
        while len(asked) < count:
            some = [search.ask() for _ in range(min(self.at_once, count - len(asked)))]
            new = [design for design in some if design is not None]
            if not new:
                break
            asked += new
            found = self._evaluated(asked, what)[len(told) :]
            for each in found:
                search.tell(each)
            told += found
        return told

    def _usual(self) -> list[Row]:
        """The usual designs on the plan's array."""
        only = self.space.quantizations == [Quantization()]
        kinds = [kind for kind in KINDS if kind != "quantization alone" or not only]
        return [self._of_kind(kind) for kind in kinds]

    def _of_kind(self, kind: str) -> Row:
        found = usual(
            kind,
            self.evaluator.array,
            self._one_by_one(),
            self.evaluator.known,
            quantizations=self.space.quantizations,
        )
        return Row(name=kind, evaluation=found)

    def _uniform_as(self, found: Design) -> list[Row]:
        """The fewest uniform bits, the array and the numbers being those of the design found."""
        array, how = found.on(self.evaluator.array), found.quantization
        if array == self.evaluator.array and how == Quantization():
            return []
        bare = Design(rows=array.rows, cols=array.cols, accumulator_bits=array.accumulators.bits)
        fewest = fewest_bits(replace(bare, **how._asdict()), self._one_by_one())
        return [Row(name="uniform, array and numbers as found", evaluation=fewest)]

    def _one_by_one(self) -> Callable[[Design], Evaluation]:
        asked = list[Design]()

        def evaluate(design: Design) -> Evaluation:
            asked.append(design)
            return self._evaluated(asked, "usual designs")[-1]

        return evaluate

    def _unmet(self, nearest: Evaluation, count: int) -> str:
        """Why no design meets the targets: what binds, and how far the nearest is."""
        targets, said = self.evaluator.targets, []
        if "drop_under_faults" in nearest.missed and nearest.fall is not None:
            fall = nearest.fall
            said.append(
                f"drop_under_faults binds: accuracy falls by {100 * fall.drop:.2f} points "
                f"(standard error {100 * fall.error:.2f}), and "
                f"{100 * targets.drop_under_faults:g} are allowed with a confidence of "
                f"{100 * targets.confidence:g} %"
            )
        for name, value in (
            ("drop_without_faults", nearest.lost),
            ("slowdown", nearest.costs.slowdown),
        ):
            if name in nearest.missed:
                allowed = getattr(targets, name)
                said.append(f"{name} is {100 * value:.2f} %, and {100 * allowed:g} % are allowed")
        return (
            f"{self.name}: none of {count} designs meets the targets; the nearest misses: "
            f"{', '.join(said)}"
        )

    def _evaluated(self, designs: Sequence[Design], what: str) -> list[Evaluation]:
        """What designs come to, each of which is evaluated once."""
        names = [digest_of(design)[:16] for design in designs]
        results = self.runner.results(
            f"design {self.name}, {self.split}",
            f"{what}, {self.name}",
            Evaluating(self.evaluator),
            dict(zip(names, designs, strict=True)),
        )
        return [_evaluation(results[name]) for name in names]


def _evaluation(result: Mapping[str, Any]) -> Evaluation:
    if "failed" in result:
        raise WorkerError(
            f"a design could not be evaluated: {result['failed']}",
            hint="mend what is named; the same command goes on where it stopped",
        )
    return rebuilt(Evaluation, result)


def _row(name: str, tried: Sequence[Evaluation]) -> Row:
    return Row(name=name, evaluation=best(tried) or _nearest(tried))


def _nearest(tried: Sequence[Evaluation]) -> Evaluation:
    """Of designs none of which meets the targets, the one that misses the drop by least."""

    def far(each: Evaluation) -> tuple[int, float]:
        return len(each.missed), each.fall.drop if each.fall else np.inf

    return min(tried, key=far)


def nothing_may_meet(space: Space, evaluator: Evaluator) -> ConstraintError:
    """What is told where of all designs it is known that they miss a target."""
    designs = space.designs(evaluator.array)
    fitting = [design for design in designs if evaluator.fits(design)]
    if not fitting:
        needed = min(v.subject.widest for v in evaluator.variants.values())
        return ConstraintError(
            f"no design has accumulators that hold the network's sums, which need {needed} bits",
            hint=f"let space.accumulator_bits have {needed} or more",
        )
    lost = min(evaluator.variant(design).lost for design in fitting)
    if lost > evaluator.targets.drop_without_faults:
        return ConstraintError(
            f"no design can meet targets.drop_without_faults: the best loses {100 * lost:.2f} "
            f"points without any flip, and {100 * evaluator.targets.drop_without_faults:g} are "
            "allowed",
            hint="let space.shifts have 0 or more shifts and space.activation_range have 1, or "
            "allow a larger loss",
        )
    fastest = min(evaluator.known(design).costs.slowdown for design in fitting)
    return ConstraintError(
        f"no design can meet targets.slowdown: the fastest adds {100 * fastest:.2f} % of cycles, "
        f"and {100 * evaluator.targets.slowdown:g} are allowed",
        hint="let space.important have 0, or allow more",
    )
