"""Recipes: which are allowed, what they come to, and what leads from one to another."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from chipmend.errors import PlanError
from chipmend.steps import (
    Anytime,
    Assess,
    Compensate,
    CompensatedFAQ,
    KeepBetter,
    Match,
    Measure,
    Patch,
    Prune,
    Quantize,
    Recalibrate,
    Recipe,
    Reestimate,
    Remap,
    Retrain,
    SequentialFAQ,
    Step,
)

BYPASS: Recipe = (Prune(),)
"""What makes a network run on a faulty chip at all (FAP)."""


def check_recipe(recipe: Sequence[Step], whose: str) -> None:
    """Refuse a recipe whose network would run on faulty PEs, or that is none.

    Args:
        recipe: The steps.
        whose: Whose they are, for the error.

    Raises:
        PlanError: Something in it is no step, or it does not begin with pruning.
    """
    if isinstance(recipe, Step):
        raise PlanError(f"{whose} is a single {recipe.kind}", hint="give a list of steps")
    for step in recipe:
        if not isinstance(step, Step):
            raise PlanError(
                f"{whose}: {step!r} is no step",
                hint=f"give one of {', '.join(kind.__name__ for kind in get_args(Step))}",
            )
        if isinstance(step, Patch):
            raise PlanError(
                f"{whose}: patch goes on from a bundle, and no recipe knows which",
                hint="give the run that shipped the chips, as 'since'; it is then done first",
            )
    first = next((step for step in recipe if not isinstance(step, Remap)), None)
    if not isinstance(first, Prune):
        raise PlanError(
            f"{whose} does not begin with pruning, so what it ships would run on faulty PEs",
            hint="let the steps begin with prune; only remap may come before it",
        )
    if not is_quantized(recipe) and any(isinstance(step, Quantize) for step in recipe):
        raise PlanError(
            f"{whose} sets the weights anew once codes are chosen, and ships none",
            hint="let quantize come after remap and compensate",
        )
    for place, step in enumerate(recipe):
        if isinstance(step, KeepBetter) and not retrained_epochs(tuple(recipe[:place])):
            raise PlanError(
                f"{whose}: keep_better has no retraining before it", hint="let retrain come first"
            )
        if undoes_training(recipe[:place], step):
            raise PlanError(
                f"{whose}: {step.kind} after retraining would undo it",
                hint="let remap and compensate come before retrain, and choose codes once",
            )


def undoes_training(before: Sequence[Step], step: Step) -> bool:
    """Whether a step would set trained weights anew; codes do so to weights trained with codes.

    What follows a patched network, and is no retraining, begins with the clean one, as is meant.
    """
    before = since_anew(before)
    if any(isinstance(s, Patch) for s in before):
        return False
    if isinstance(step, Quantize) and not begins_anew(step):
        before = tuple(itertools.dropwhile(lambda s: not isinstance(s, Quantize), before))
    elif not isinstance(step, Remap | Compensate | Quantize):
        return False
    return any(isinstance(s, Retrain) for s in before)


def begins_anew(step: Step) -> bool:
    """Whether a step sets every weight anew, from the clean ones."""
    form = step.form if isinstance(step, Quantize) else None
    return isinstance(step, Compensate) or isinstance(form, SequentialFAQ)


def since_anew(recipe: Sequence[Step]) -> Recipe:
    """The end of a recipe since a patched network was given up for the clean one; or all of it.

    Example:
        >>> patch = Patch(bundle="of the chip")
        >>> [step.kind for step in since_anew((patch, Measure(), Prune(), Retrain()))]
        ['prune', 'retrain']
        >>> [step.kind for step in since_anew((patch, Measure(), Retrain()))]
        ['patch', 'measure', 'retrain']
    """
    patched, begin = False, 0
    for place, step in enumerate(recipe):
        if isinstance(step, Patch):
            patched, begin = True, place
        elif patched and not isinstance(step, _GOES_ON):
            patched, begin = False, place
    return tuple(recipe[begin:])


_GOES_ON = (Assess, Measure, Retrain)
"""What leaves a patched network what it is, or goes on from it."""


def is_patched(recipe: Sequence[Step]) -> bool:
    """Whether a recipe goes on from the network that a chip was shipped before."""
    return any(isinstance(step, Patch) for step in merged(tuple(recipe)))


def makes_up_for_losses(recipe: Recipe) -> bool:
    """Whether a recipe's last step is the first that makes up for what a clean network loses."""
    *before, step = recipe
    form = step.form if isinstance(step, Quantize) else None
    if begins_anew(step):
        return True
    if any(isinstance(s, Compensate | Retrain) for s in before):
        return False
    return isinstance(form, CompensatedFAQ)


def has_made_up_for_losses(recipe: Recipe) -> bool:
    """Whether a step of a recipe made up for what a clean network loses."""
    return any(makes_up_for_losses(recipe[:length]) for length in range(1, len(recipe) + 1))


def is_quantized(recipe: Sequence[Step]) -> bool:
    """Whether a recipe ends in a network of integers."""
    return any(
        isinstance(step, Quantize) or (isinstance(step, Patch) and step.in_codes)
        for step in merged(tuple(recipe))
    )


def avoids_lost(recipe: Recipe) -> bool:
    """Whether what a recipe comes to has zeros where the chip's weights are lost."""
    return is_patched(recipe) or any(isinstance(step, Prune) for step in recipe)


def unpruned(recipe: Recipe) -> Recipe:
    """A recipe without the prune that it ends with, if it does."""
    return recipe[:-1] if recipe and isinstance(recipe[-1], Prune) else recipe


def retrained_epochs(recipe: Recipe) -> float:
    """Epochs of retraining in a recipe.

    Example:
        >>> retrained_epochs((Prune(), Retrain(epochs=0.5), Retrain(epochs=0.25)))
        0.75
    """
    return sum(step.epochs for step in recipe if isinstance(step, Retrain))


def _corrects_norms(step: Step) -> bool:
    form = step.form if isinstance(step, Quantize) else None
    return isinstance(step, Compensate) or isinstance(form, CompensatedFAQ | SequentialFAQ)


def ready_to_ship(start: Recipe, form: Reestimate) -> Recipe:
    """A recipe that trains nothing, with its norms corrected if no step in it did so."""
    if any(isinstance(step, Recalibrate) or _corrects_norms(step) for step in start):
        return start
    return (*start, Recalibrate(form=form))


def amount_steps(epochs: float, retrain: Retrain, start: Recipe = BYPASS) -> Recipe:
    """A start, and retraining by an amount known beforehand; none leaves the norms to correct."""
    if epochs == 0:
        return ready_to_ship(start, retrain.recalibrate)
    return (*start, replace(retrain, epochs=epochs))


def check_start(start: Sequence[Step], whose: str) -> None:
    """Refuse what cannot come before retraining.

    Raises:
        PlanError: It does not begin with pruning, or trains already.
    """
    check_recipe(start, whose)
    if retrained_epochs(tuple(start)):
        raise PlanError(f"{whose} trains already", hint="leave retrain out of it")


def check_leads_to(done: Recipe, wanted: Recipe, whose: str) -> None:
    """Refuse a recipe that cannot be come to from another.

    Raises:
        PlanError: What was done would have to be undone, or nothing is left to do.
    """
    left = steps_toward(done, wanted)
    if not left or merged((*done, *left)) != merged(wanted):
        raise PlanError(
            f"{whose} cannot be come to from one before it",
            hint="let what only prunes or recalibrates come first, then what compensates, and what "
            "remaps last; a match lasts, as it moves biases",
        )


def ahead_of_retraining(recipe: Recipe) -> Recipe:
    """What a recipe does before its last retraining, with its norms corrected if none did so.

    Example:
        >>> [step.kind for step in ahead_of_retraining((Prune(), Retrain(), Measure()))]
        ['prune', 'recalibrate']
    """
    place, last = [(p, s) for p, s in enumerate(recipe) if isinstance(s, Retrain)][-1]
    return ready_to_ship(recipe[:place], last.recalibrate)


def merged(recipe: Recipe) -> Recipe:
    """A recipe by what it does to the network.

    Looks do nothing. A mapping of channels has the network begin anew, pruned under it; and
    compensation sets every weight anew, so what was corrected before leaves no trace. Codes are
    chosen anew for the weights as they were before an earlier choice. No trace is left either by
    statistics that were estimated anew before they are once more, or before a retraining: that
    looks at the statistics of its own batches, and estimates in the end. Matching moves biases too,
    so it lasts until norms are matched again. Retrainings in a row are one where the schedule
    allows. Only retraining goes on from a patched network: what else follows begins with the clean
    one.

    Example:
        >>> from chipmend.steps import Prune
        >>> some = (Retrain(epochs=0.25), Retrain(epochs=0.5))
        >>> estimated = Recalibrate(form=Reestimate())
        >>> recipe = (Prune(), estimated, Measure(), *some)
        >>> [(step.kind, getattr(step, "epochs", None)) for step in merged(recipe)]
        [('prune', None), ('retrain', 0.75)]
        >>> recipe = (Prune(), Recalibrate(), Compensate(), Remap(), Compensate())
        >>> [step.kind for step in merged(recipe)]
        ['remap', 'prune', 'compensate']
    """
    steps: list[Step] = []
    for step in since_anew(recipe):
        if isinstance(step, Assess | Measure):
            continue
        if isinstance(step, Remap):
            steps = [step, *(each for each in steps if isinstance(each, Prune))]
            continue
        if isinstance(step, Quantize):
            steps = list(itertools.takewhile(lambda s: not isinstance(s, Quantize), steps))
        while steps and _leaves_no_trace(steps[-1], step):
            steps.pop()
        if (
            isinstance(step, Retrain)
            and steps
            and isinstance(last := steps[-1], Retrain)
            and _continues(last, step)
        ):
            steps[-1] = replace(last, epochs=round(last.epochs + step.epochs, 9))
            continue
        steps.append(step)
    return tuple(steps)


def mapping_of(recipe: Recipe) -> tuple[Remap, ...]:
    """The mapping that counts in a recipe, if there is one."""
    return tuple(step for step in recipe if isinstance(step, Remap))[-1:]


def _leaves_no_trace(step: Step, after: Step) -> bool:
    """Whether a step does nothing that lasts once another follows."""
    if begins_anew(after):
        return isinstance(step, Compensate | Recalibrate | Quantize)
    if not isinstance(step, Recalibrate):
        return False
    if isinstance(after, Recalibrate) and isinstance(after.form, Match):
        return True
    return isinstance(step.form, Reestimate) and isinstance(after, Recalibrate | Retrain)


def _continues(last: Retrain, step: Retrain) -> bool:
    return isinstance(step.schedule, Anytime) and path_of(last) == path_of(step)


def path_of(step: Retrain) -> Retrain:
    """What the amounts along one trajectory have in common."""
    return replace(step, epochs=1.0) if isinstance(step.schedule, Anytime) else step


def trajectory_of(recipe: Recipe) -> Recipe:
    """What names the trajectory that a recipe ends on; a step that trains nothing has its own."""
    *before, step = recipe
    return (*before, path_of(step)) if isinstance(step, Retrain) else recipe


def steps_toward(done: Recipe, wanted: Recipe) -> Recipe:
    """What is left to do of a recipe once another was carried out.

    Pruning is not repeated, and neither is the mapping that is in effect.

    Args:
        done: What was carried out.
        wanted: What it shall come to; it has a mapping if ``done`` has one, and trains nothing.

    Returns:
        Steps to append to ``done``.

    Example:
        >>> from chipmend.steps import OneShot
        >>> done = (Prune(), Compensate(form=OneShot()))
        >>> [step.kind for step in steps_toward(done, (Remap(), Prune(), Compensate()))]
        ['remap', 'compensate']
    """
    tails = [wanted[place:] for place in range(len(wanted), -1, -1)]
    unmapped = tuple(step for step in wanted if step not in (*mapping_of(done), *BYPASS))
    for left in (*tails, unmapped):
        if merged((*done, *left)) == merged(wanted):
            return left
    return wanted
