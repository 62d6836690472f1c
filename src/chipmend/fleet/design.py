"""The verb ``design`` in Python: the cheapest protection of a network, before tape-out."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Float64

from chipmend.confidence.constraint import Drop
from chipmend.errors import ArrayError, ConstraintError, NetworkError, RtlError
from chipmend.fleet.arrangement import Arrangement, cores
from chipmend.fleet.designing import Designing
from chipmend.fleet.fingerprint import conditions
from chipmend.fleet.preparing import Prepared
from chipmend.fleet.progress import Progress, Unwatched
from chipmend.fleet.runner import Runner
from chipmend.fleet.store import SqliteStore
from chipmend.hardware.array import Array
from chipmend.network.evaluate import scores
from chipmend.network.processor import computing_with
from chipmend.network.task import Task
from chipmend.protect.circuit import Synthesized, found_yosys, synthesized, table
from chipmend.protect.design.costs import parameters
from chipmend.protect.design.evaluation import Evaluator, Targets
from chipmend.protect.design.parameters import Quantization, Space
from chipmend.protect.design.shifts import Shifts
from chipmend.protect.maps import LayerMap, layer_maps
from chipmend.protect.search import Searching, found_botorch
from chipmend.protect.study import DesignOutcome, Study
from chipmend.records import digest_of, plain, rebuilt
from chipmend.simulate.flips import BitErrors


def design(
    task: Task,
    *,
    array: Array,
    errors: BitErrors | Sequence[BitErrors],
    targets: Targets | None = None,
    space: Space | None = None,
    searching: Searching | None = None,
    seed: int = 0,
    run: str | Path | None = None,
    workers: int | None = 1,
    threads: int | None = None,
    progress: Progress | None = None,
    plan: Mapping[str, Any] | None = None,
) -> DesignOutcome:
    """Find the cheapest protection of a network on an array whose bits flip now and then.

    The network is brought to weights as wide as the memory; all that is said of accuracy is said
    against that.

    Args:
        task: The network and its data.
        array: The array as it would be without protection; its sums wrap around.
        errors: How often bits flip: once, or several times, each of which gets its own design.
        targets: What is to be reached.
        space: The designs that are looked at.
        searching: How.
        seed: Of everything random.
        run: Run folder; the same call goes on where it was interrupted.
        workers: Worker processes; one works in this process.
        threads: Threads of each.
        progress: Who watches.
        plan: The plan as written, for the report.

    Returns:
        The designs that were found, beside the usual ones; ``check_met`` says whether each rate has
        one that meets the targets.

    Raises:
        NetworkError: The task is on another device than a CPU.
        ArrayError: Flips of no bits, or sums that do not wrap around.
        ConstraintError: It is known beforehand that no design meets the targets: says why.
        FingerprintError: The run was begun under another plan.
    """
    rates = [errors] if isinstance(errors, BitErrors) else list(errors)
    _check(task, array, rates)
    targets, space, searching = targets or Targets(), space or Space(), searching or Searching()
    arrangement = Arrangement(
        workers=workers or cores(), threads=threads or max(1, cores() // (workers or cores()))
    )
    method = searching.method or ("bayesian" if found_botorch() else "sobol-greedy")
    with ExitStack() as stack:
        folder = Path(run) if run is not None else Path(stack.enter_context(TemporaryDirectory()))
        stack.enter_context(computing_with(arrangement.threads))
        store = stack.enter_context(closing(SqliteStore(folder)))
        runner = Runner(arrangement.executor(), store, progress or Unwatched())
        asked = {"array": array, "errors": rates, "targets": targets, "space": space}
        asked["search"] = [replace(searching, evaluations=1), method]  # more may be asked for later
        runner.check_fingerprint(
            {
                "network and data": task.digest(),
                **{name: digest_of(part) for name, part in asked.items()},
                "seed": seed,
                "designs at once": arrangement.workers,
                **conditions(arrangement.threads, task.device),
            },
            "design",
        )
        prepared = Prepared(task, array, space, searching.estimating, seed, runner, folder)
        _check_sure(targets, prepared.clean)
        variants, studies = prepared.variants(), list[Study]()
        for rate in rates:
            evaluator = Evaluator(
                array=array,
                variants=variants,
                errors=rate,
                targets=targets,
                batches=prepared.validation,
                clean=prepared.clean,
                metric=task.metric,
                seed=seed,
            )
            designing = Designing(
                evaluator, space, runner, _name(rate), seed, at_once=arrangement.workers
            )
            study = designing.study(method, searching.evaluations, by_chance=searching.by_chance)
            studies.append(designing.tested(study, *prepared.test))
        exact, said = _synthesized(studies, array)
        shifts = tuple(prepared.found_shifts.items())
        clean = float(prepared.test[1].mean())
        was = float(scores(task.model, task.test, task.metric).mean())
        return DesignOutcome(
            array=array,
            targets=targets,
            space=space,
            method=method,
            float_accuracy=was,
            clean_accuracy=clean,
            studies=tuple(studies),
            maps=tuple(_maps(prepared, searching.injected)),
            shifts=shifts,
            area_error=_area_error(studies),
            synthesized=exact,
            notes=(
                *_notes(was, clean, array.memory.bits, method, studies),
                *_of_shifts(shifts),
                *said,
            ),
            plan=dict(plan or {}),
        )


def _check(task: Task, array: Array, rates: Sequence[BitErrors]) -> None:
    """Refuse what cannot be searched.

    Raises:
        NetworkError: The task is on another device than a CPU.
        ArrayError: Flips of no bits, or sums that do not wrap around.
    """
    if task.device.type != "cpu":
        raise NetworkError(
            f"protection is designed on a CPU, and the task is on {task.device}",
            hint="leave the device out",
        )
    if not rates or any(not (rate.accumulator or rate.product) for rate in rates):
        raise ArrayError(
            "bit errors: nothing flips in the array",
            hint="give a rate above 0 for accumulator, or for product",
        )
    if array.accumulators.overflow != "wrap" or array.accumulators.tiles != "outside":
        raise ArrayError(
            "protection is designed for sums that wrap around and are added up outside",
            hint="set array.accumulators.overflow to 'wrap' and tiles to 'outside'",
        )


def _check_sure(targets: Targets, clean: Float64[np.ndarray, " samples"]) -> None:
    """Refuse targets that so few samples cannot make sure of, even if flips cost none of them.

    Raises:
        ConstraintError: Says how many samples are needed.
    """
    drop, doubt = targets.drop_under_faults, 1 - targets.confidence
    if Drop(drop).p_value(clean, clean) <= doubt:
        return
    needed = math.ceil(math.log(doubt) / math.log1p(-drop))
    raise ConstraintError(
        f"no design can meet targets.drop_under_faults: a drop of more than {100 * drop:g} points "
        f"cannot be ruled out with a confidence of {100 * targets.confidence:g} % by the "
        f"{len(clean)} samples of validation, even if flips cost none of them",
        hint=f"give about {needed} samples or more, or ask for less",
    )


def _name(errors: BitErrors) -> str:
    """A rate in a few characters.

    Example:
        >>> _name(BitErrors(accumulator=1e-6, weights=1e-8))
        'accumulator 1e-06, weights 1e-08'
    """
    return ", ".join(f"{name} {rate!r}" for name, rate in plain(errors).items() if rate)


def _notes(
    was: float, clean: float, bits: int, method: str, studies: Sequence[Study]
) -> Iterator[str]:
    """What people are to know of how designs were searched for."""
    yield (
        f"the network was brought to {bits} bits: {100 * was:.2f} % right on the test split "
        f"before, {100 * clean:.2f} % after"
    )
    if method == "sobol-greedy":
        yield (
            "searched by a Sobol sequence and greedily, without learning: install the extra "
            "'design' for Bayesian search"
        )
    if left_out := max(study.left_out for study in studies):
        yield (
            f"of the space, {left_out} designs with a dot-product unit were not looked at, drawn "
            "by chance: there are too many"
        )


def _of_shifts(chosen: Sequence[tuple[Quantization, Shifts]]) -> Iterator[str]:
    """Which shifts there are.

    Example:
        >>> list(_of_shifts([(Quantization(2, 0.5), (6, 9))]))
        ['where 2 shifts go with activations to 50 % of their range, they are by 6 and 9 bits']
    """
    for how, shifts in chosen:
        *first, last = map(str, shifts)
        some = f"{', '.join(first)} and {last}" if first else last
        reach = f"activations to {100 * how.activation_range:g} % of their range"
        count = f"{how.shifts} shift{'s' if how.shifts > 1 else ''}"
        yield f"where {count} go with {reach}, they are by {some} bits"


def _maps(prepared: Prepared, neurons: int) -> list[LayerMap]:
    """Maps of vulnerability, which are kept."""
    runner, name = prepared.runner, "maps of vulnerability"
    if (kept := runner.store.fact(name)) is not None:
        return [rebuilt(LayerMap, each) for each in kept["layers"]]
    runner.progress.phase("injected flips, for maps", 1, 0)
    runner.progress.job_begun()
    found = layer_maps(
        prepared.first,
        prepared.validation[:1],
        prepared.task.loss,
        neurons=neurons,
        each=8,
        seed=prepared.seed,
    )
    runner.store.keep_fact(name, {"layers": plain(found)})
    runner.progress.job_done()
    return found


def _area_error(studies: Sequence[Study]) -> float:
    """The largest error of the areas that are looked up."""
    cone = any(study.errors.product for study in studies)
    return max(fit.error for name, fit in table().items() if cone or not name.endswith("cone"))


def _synthesized(
    studies: Sequence[Study], array: Array
) -> tuple[tuple[Synthesized | None, ...], list[str]]:
    """A PE of each design found, as Yosys has it now; and why, where it does not."""
    none = (None,) * len(studies)
    if not found_yosys():
        return none, [
            "Yosys is not installed: areas are those of the table that is shipped, made with it"
        ]
    try:
        found = [synthesized("pe", pe_parameters(study, array)) for study in studies]
    except RtlError as error:
        return none, [f"areas are those of the table that is shipped alone: {error}"]
    return tuple(found), []


def pe_parameters(study: Study, array: Array) -> dict[str, int]:
    """The parameters of the Verilog of a PE of the design that was found."""
    found = study.found.evaluation
    return parameters(
        found.design.accumulator_bits,
        range(found.first, found.last),
        weight_bits=array.memory.bits,
        cone=bool(study.errors.product),
    )
