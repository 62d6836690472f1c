"""Carry out recipes on one faulty network, doing nothing twice.

Policies that are compared on one chip ask for recipes with common beginnings. The bench keeps the
training trajectories, goes forward along them, and states the cost of each step as if the recipe
had been carried out alone.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Float64
from torch import nn

from chipmend.faults.maps import FaultMap
from chipmend.faults.screening import Margin
from chipmend.hardware.array import Array
from chipmend.hardware.memory import Filled
from chipmend.network.dynamic import Lost
from chipmend.network.evaluate import scores
from chipmend.network.integer.codes import Codes
from chipmend.network.integer.layers import Sound
from chipmend.network.integer.network import IntegerNetwork, Lowering
from chipmend.network.processor import compute_repeatably_on
from chipmend.network.task import Task
from chipmend.recipes import (
    ahead_of_retraining,
    avoids_lost,
    is_patched,
    is_quantized,
    makes_up_for_losses,
    mapping_of,
    merged,
    retrained_epochs,
    trajectory_of,
    unpruned,
)
from chipmend.repairs.calibration import MATCHED_PLACES, Calibration
from chipmend.repairs.coding import Coding
from chipmend.repairs.computing import Computing, Moves
from chipmend.repairs.cost import Cost, Stop, ee_of_an_epoch, forward_pass
from chipmend.repairs.distill import lessons
from chipmend.repairs.looking import Looked, Looking
from chipmend.repairs.losing import Losing
from chipmend.repairs.match import matched_
from chipmend.repairs.one_shot import one_shot_
from chipmend.repairs.patch import Patching, Shipped
from chipmend.repairs.prune import Pruned, are_zero, prune_, pruned_weights
from chipmend.repairs.quantize import misread, quantized_, quantized_in_stream_
from chipmend.repairs.recalibrate import reestimate_
from chipmend.repairs.remap import Remapped, remapped
from chipmend.repairs.retrain import Retraining, lost_in_training
from chipmend.repairs.sequential import sequential_
from chipmend.repairs.words import Words, words_on_chip
from chipmend.seeds import chip_seed
from chipmend.steps import (
    Anytime,
    Assess,
    ClosedForm,
    Coded,
    Compensate,
    CompensatedFAQ,
    KeepBetter,
    Match,
    Measure,
    Naive,
    OneShot,
    Patch,
    Quantize,
    Recalibrate,
    Recipe,
    Reestimate,
    Remap,
    Retrain,
    SequentialFAQ,
    Step,
)

Tick = Callable[[float], object]


class Workbench:
    """One network under repair for one fault map.

    Args:
        task: The network that repairs start from, and its data.
        array: The array and its placement.
        faults: What is broken.
        calibration: What closed-form repair knows of the network; by default this bench's own.
        chip: Identity of the chip, or of the group that shares the map; seeds derive from it.
        seed: The seed of the run.
        tick: Called now and then with the epoch-equivalents worked on the bench so far.
        margin: What is allowed for beside the fault map. Sequential repair and retraining reckon
            with losing what the tester may have missed, and looks meet one of the worst draws of
            it. Nothing by default.
        shipped: What the chip was shipped before, for ``Patch`` to go on from.
    """

    def __init__(
        self,
        task: Task,
        array: Array,
        faults: FaultMap,
        *,
        chip: str,
        seed: int,
        calibration: Calibration | None = None,
        tick: Tick = lambda _: None,
        margin: Margin | None = None,
        shipped: Shipped | None = None,
    ) -> None:
        compute_repeatably_on(task.device)
        self.task = task
        self.calibration = calibration or Calibration(task, seed)
        self._pruned = pruned_weights(task.model, faults.unusable, array)
        self._mappings: dict[Remap, tuple[Remapped, Cost]] = {}
        self._chip, self._seed, self._tick = chip, seed, tick
        self._worked = 0.0
        self._array, self._faults = array, faults
        self._patching = Patching(self.calibration, faults, self._pruned, shipped)
        self._losing = Losing(self.calibration, Lost(faults.unusable, array))
        self._computing = Computing(self.calibration, array, faults)
        self._here: tuple[Recipe, nn.Module] | None = None
        self._codes: dict[str, Codes] = {}
        self._trajectories: dict[Recipe, Retraining] = {}
        self._stops: dict[Recipe, Stop] = {}
        self._missed = 0.0 if margin is None else margin.missed_share(faults)
        self._looking = Looking(self.calibration, faults, chip=chip, seed=seed, margin=margin)
        self._looks: dict[Recipe, Looked] = {}
        self._tests: dict[tuple[Recipe, FaultMap], np.ndarray] = {}
        self._damages: dict[tuple[tuple[Remap, ...], OneShot], tuple[float, Cost]] = {}

    def network(self, recipe: Recipe) -> nn.Module:
        """The network after a recipe: the bench's own, valid until the bench is asked again."""
        return self._at(merged(recipe))

    def ships(self, recipe: Recipe) -> nn.Module:
        """The network that a recipe ships: one of integers if it chooses codes."""
        done = self.comes_to(recipe)
        network = self._at(done)
        if (lowered := self._lowering(done)) is None:
            return network
        return IntegerNetwork(lowered, network, self._codes, Sound(self._losing.lost))

    def codes(self, recipe: Recipe) -> Mapping[str, Codes] | None:
        """The codes that a recipe chooses, in the network's own order of channels."""
        done = self.comes_to(recipe)
        self._at(done)
        return self._codes if is_quantized(done) else None

    def comes_to(self, recipe: Recipe) -> Recipe:
        """The recipe of the network that a recipe comes to: without a retraining that did worse."""
        return self._kept(merged(recipe))

    def history(self, recipe: Recipe) -> Recipe:
        """Every step behind the network of a recipe, those of earlier bundles among them."""
        done = self.comes_to(recipe)
        return self._patching.history(done) if is_patched(done) else done

    def carry_out(self, recipe: Recipe) -> None:
        """Carry out a recipe's last step, whatever it is; the steps before it have been."""
        step = recipe[-1]
        if isinstance(step, Measure):
            self.validation(recipe, step.share)
        elif isinstance(step, Assess):
            self.damage(recipe, step.moments)
        else:
            self.network(recipe)

    def validation(self, recipe: Recipe, share: float = 1.0) -> Float64[np.ndarray, " samples"]:
        """Scores on a share of the validation split after a recipe, in the order of looks."""
        done, wanted = self.comes_to(recipe), self._looking.samples(share)
        looked = self._looked(done)
        if (seen := len(looked.scores)) < wanted:
            network = self._shipped(done, looked.broken)
            started, images = time.perf_counter(), self._looking.images(share)
            found = self._looking.scores(network, seen, images)
            looked.scores = np.concatenate([looked.scores, found])
            looked.seconds += time.perf_counter() - started
            self._work(forward_pass(images - seen, self.task))
        return looked.scores[:wanted]

    def _looked(self, done: Recipe) -> Looked:
        """What was seen of a network so far; it takes some work to begin with."""
        if done not in self._looks:
            self._at(done)
            self._looks[done] = self._looking.begin(partial(self._shipped, done))
            self._work(self._looks[done].found.ee)
        return self._looks[done]

    def test(
        self, recipe: Recipe, broken: FaultMap | None = None
    ) -> Float64[np.ndarray, " samples"]:
        """Scores on the test split after a recipe: to report, never to decide by.

        Args:
            recipe: The recipe.
            broken: What is broken on the chip; by default what the bench's fault map says, which
                may be that of several chips, or not say all.
        """
        done, faults = self.comes_to(recipe), self._faults
        if broken is not None and self._tells_apart(broken):
            faults = broken
        if (done, faults) not in self._tests:
            network = self._shipped(done, faults)
            self._tests[done, faults] = scores(network, self.task.test, self.task.metric)
        return self._tests[done, faults]

    def damage(self, recipe: Recipe, moments: OneShot) -> float:
        """How much the weights that a recipe loses matter, by the closed form.

        Args:
            recipe: The recipe.
            moments: How the layers' inputs are known.

        Returns:
            What losing each of them alone would cost the network's outputs, as far as their
            sensitivities are known, relative to their variance; summed over layers. Weights in
            words with stuck bits count with what the nearest number that can be read is off.
        """
        return self._assessed(recipe, moments)[0]

    def pruned(self, recipe: Recipe) -> Pruned:
        """The weights that a recipe loses, in the network's own order of channels."""
        mapping = self.mapping(recipe)
        return self._pruned if mapping is None else mapping.pruned

    def mapping(self, recipe: Recipe) -> Remapped | None:
        """Where a recipe puts the network's channels; none if they stay in their places."""
        if is_patched(recipe):
            return self._patching.mapping
        return next((self._remapped(step)[0] for step in mapping_of(recipe)), None)

    def spent(self, recipe: Recipe) -> Cost:
        """What a recipe costs when it is carried out alone, step by step, looks included.

        What all chips share is not in it. The bench must have tried every beginning of it before;
        a retraining that went astray costs what was trained until then.
        """
        total, paid, seen = Cost(), dict[Recipe, Cost](), Counter[Recipe]()
        came_to = set[Recipe]()
        for length in range(1, len(recipe) + 1):
            done, step = merged(recipe[:length]), recipe[length - 1]
            if isinstance(step, KeepBetter) and ahead_of_retraining(done) not in came_to:
                total += self._stops[ahead_of_retraining(done)].once
            came_to.add(done)
            for looked, share in self._looks_of(done, step):
                wanted = self._looking.images(share)
                if not seen[looked]:
                    total += self._looks[looked].found
                total += self._looked_at(looked, max(0, wanted - seen[looked]))
                seen[looked] = max(seen[looked], wanted)
            if isinstance(step, Measure | KeepBetter):
                continue
            if isinstance(step, Assess):
                total += self._assessed(recipe[:length], step.moments)[1]
                continue
            if isinstance(step, Remap):
                total += self._mappings[step][1]
                continue
            stop, path = self._stops[done], trajectory_of(done)
            total += stop.along - paid.get(path, Cost()) + stop.once
            paid[path] = stop.along
        return total

    def tried(self, recipe: Recipe) -> bool:
        """Whether the bench has carried a recipe's last step out, or has begun to."""
        done = merged(recipe)
        step = recipe[-1]
        if isinstance(step, Measure):
            looked = self._looks.get(self._kept(done) if done in self._stops else done)
            return looked is not None and len(looked.scores) >= self._looking.images(step.share)
        if isinstance(step, Assess):
            return (mapping_of(recipe), step.moments) in self._damages
        if isinstance(step, Remap):
            return step in self._mappings
        return done in self._stops

    def _looked_at(self, done: Recipe, images: int) -> Cost:
        looked = self._looks[done]
        seconds = looked.seconds * images / len(looked.scores)
        return Cost(measure=forward_pass(images, self.task), seconds=seconds)

    def _assessed(self, recipe: Recipe, moments: OneShot) -> tuple[float, Cost]:
        key = mapping_of(recipe), moments
        if key not in self._damages:
            self.calibration.prepare(Assess(moments=moments))
            started = time.perf_counter()
            saliency = self.calibration.saliency(ClosedForm(moments=moments))
            lost = self.pruned(recipe)
            shares = (float(s[lost[name]].sum()) for name, s in saliency.items())
            damage, work = sum(shares), sum(s.numel() for s in saliency.values())
            if self._faults.stuck is not None:
                layers = self.calibration.layers(moments)
                damage, work = damage + misread(layers, self._words(recipe)), 2 * work
            cost = Cost(algebra=self.calibration.algebra(work))
            self._work(cost.ee)
            seconds = time.perf_counter() - started
            self._damages[key] = damage, replace(cost, seconds=seconds)
        return self._damages[key]

    def _at(self, recipe: Recipe) -> nn.Module:
        if self._here is None or self._here[0] != recipe:
            self._here = (recipe, self._carried_out(recipe))
        return self._here[1]

    def _shipped(self, done: Recipe, faults: FaultMap | None = None) -> nn.Module:
        """What a chip computes after a recipe: the one of the fault map, or one with others."""
        network = self._at(done)
        return self._computing.on(
            network,
            faults or self._faults,
            lowering=self._lowering(done),
            codes=self._codes,
            moved=self._moved(done),
        )

    def _tells_apart(self, faults: FaultMap) -> bool:
        """Whether networks may compute something else on a chip with these faults.

        They do not on one that bypasses a part of the same PEs, whose weights are zero; unless
        products of activations lose what meets them.
        """
        if faults.needs_codes or self._faults.needs_codes:
            return faults.digest() != self._faults.digest()
        escape = np.any(faults.unusable & ~self._faults.unusable)
        fewer = np.any(self._faults.unusable & ~faults.unusable)
        return bool(escape or (fewer and self.calibration.has_dynamic_products))

    def _lowering(self, done: Recipe) -> Lowering | None:
        """How a network is carried out in integers; none if it stays one of real numbers."""
        if is_patched(done):
            return self._patching.shipped.lowering
        chosen = next((step for step in done if isinstance(step, Quantize)), None)
        return None if chosen is None else self.calibration.lowering(chosen)

    def _carried_out(self, recipe: Recipe) -> nn.Module:
        if not recipe:
            return self._losing.fresh()
        before, step = recipe[:-1], recipe[-1]
        if isinstance(step, Retrain):
            return self._retrained(before, step)
        if isinstance(step, Remap):
            self._remapped(step)
            return self._losing.fresh()
        if isinstance(step, KeepBetter):
            network = self._better(before)
            self._stops[recipe] = Stop()  # its looks are billed as looks
            return network
        if isinstance(step, Quantize) and isinstance(step.form, CompensatedFAQ | SequentialFAQ):
            before = unpruned(before)  # it makes up for lost weights itself
        network = self._losing.fresh() if isinstance(step, Compensate) else self._taken(before)
        if not (isinstance(step, Patch) and self._patching.is_as_it_was):
            self.calibration.prepare(step)
        started = time.perf_counter()
        cost = self._repaired_(network, step, recipe)
        assert are_zero(network, self.pruned(recipe)) or not avoids_lost(recipe)
        self._work(cost.ee)
        self._stops[recipe] = Stop(once=replace(cost, seconds=time.perf_counter() - started))
        return network

    def _coding(self, before: Recipe) -> Coding:
        """How a network that was quantized is trained on: as its codes were chosen."""
        done = self._patching.history(before) if is_patched(before) else before
        forms = [step.form for step in done if isinstance(step, Quantize)]
        unaware = isinstance(forms[-1], Naive)
        read = Words.unaware if unaware else Words.nearest
        return Coding(self._words(before), self._codes, read)

    def _repaired_(self, network: nn.Module, step: Step, recipe: Recipe) -> Cost:
        """Carry out a recipe's last step, which trains nothing, in place."""
        known, pruned = self.calibration, self.pruned(recipe)
        if isinstance(step, Recalibrate):
            return Cost(recalibrate=self._recalibrated_(network, step.form, recipe))
        if isinstance(step, Patch):
            self._codes, work = self._patching.patch_(network, step, self._words(recipe))
            return Cost(algebra=known.algebra(work))
        fitted = self._losing.fit_queries_(network) if makes_up_for_losses(recipe) else Cost()
        if isinstance(step, Quantize):
            return fitted + Cost(
                algebra=known.algebra(self._quantized_(network, step.form, recipe))
            )
        if not isinstance(step, Compensate):
            prune_(network, pruned)
            return Cost()
        if isinstance(step.form, OneShot):
            _, work = one_shot_(network, self._losing.layers(step.form), pruned)
        else:
            work = sequential_(
                network,
                known.inputs_at_once(step.form.samples),
                self._losing.targets(step.form.samples, step.form.places),
                pruned,
                known.intercepts,
                pull=step.form.pull,
                missed=self._missed,
            )
        return fitted + Cost(algebra=known.algebra(work))

    def _quantized_(self, network: nn.Module, form: Coded, recipe: Recipe) -> int:
        """Choose codes, set the network to what they stand for; multiply-adds that it took."""
        known, words = self.calibration, self._words(recipe)
        if isinstance(form, SequentialFAQ):
            inputs = known.inputs_at_once(form.samples)
            clean = self._losing.targets(form.samples, form.places)
            self._codes, work = quantized_in_stream_(
                network, form, words, inputs, clean, known.intercepts, missed=self._missed
            )
            return work
        if isinstance(form, CompensatedFAQ):
            layers, factors = known.layers(form.moments), known.factors(form.moments)
        else:
            layers, factors = {}, {}
        self._codes, work = quantized_(network, form, words, layers, factors)
        return work

    def _words(self, recipe: Recipe) -> dict[str, Words]:
        """The words of each weight, in the network's own order of channels."""
        lost, moved = self.pruned(recipe), self._moved(recipe)
        return words_on_chip(self._array.memory, lost, self._faults.stuck, self._filled, moved)

    @property
    def _filled(self) -> Filled | None:
        """Where the weights lie in the memory; not needed if that is sound."""
        return self.calibration.filled(self._array.memory) if self._faults.stuck else None

    def _moved(self, recipe: Recipe) -> Moves | None:
        """Channels that a recipe moves, and where they go."""
        if is_patched(recipe):
            return self._patching.shipped.moved
        mapping = self.mapping(recipe)
        return None if mapping is None else (self.calibration.couplings, mapping.positions)

    def _recalibrated_(self, network: nn.Module, form: Match | Reestimate, recipe: Recipe) -> float:
        """Correct the norms of a network, in place; EE that it took."""
        known = self.calibration
        if isinstance(form, Match):
            inputs = known.inputs_at_once(form.samples)
            model, clean = self._losing.meant(recipe, form.samples, MATCHED_PLACES)
            matched_(network, model, inputs, clean, known.intercepts)
            used = len(inputs)
        else:
            used = reestimate_(network, self.task.train, known.estimation(form.samples))
        return forward_pass(used, self.task)

    def _remapped(self, step: Remap) -> tuple[Remapped, Cost]:
        if step not in self._mappings:
            self.calibration.prepare(step)
            started = time.perf_counter()
            known, kind = self.calibration, step.saliency
            saliency, together, sweeps = known.saliency(kind), {}, 0
            if isinstance(kind, ClosedForm):
                together, sweeps = known.layers(kind.moments), kind.joint_sweeps
            found = remapped(self._pruned, saliency, known.couplings, together, sweeps=sweeps)
            cost = Cost(algebra=self.calibration.algebra(found.multiply_adds))
            self._work(cost.ee)
            seconds = time.perf_counter() - started
            self._mappings[step] = found, replace(cost, seconds=seconds)
        return self._mappings[step]

    def _taken(self, recipe: Recipe) -> nn.Module:
        """The network after a recipe, for the caller to change."""
        network = self._at(recipe)
        self._here = None
        return network

    def _retrained(self, before: Recipe, step: Retrain) -> nn.Module:
        trajectory = self._trajectory(before, step)
        behind = self._worked - trajectory.epochs * ee_of_an_epoch(step)
        try:
            trajectory.advance(
                step.epochs, lambda epochs: self._tick(behind + epochs * ee_of_an_epoch(step))
            )
        finally:
            epochs = trajectory.epochs * ee_of_an_epoch(step)
            along = Cost(retrain=epochs, seconds=trajectory.seconds)
            self._stops[*before, step] = Stop(along=along)
        self._worked = behind + epochs
        started = time.perf_counter()
        network = trajectory.network()
        if trajectory.coding is not None:
            self._codes = trajectory.coding.codes_of(network)
        cost = Cost(recalibrate=self._recalibrated_(network, step.recalibrate, before))
        self._work(cost.ee)
        once = replace(cost, seconds=time.perf_counter() - started)
        self._stops[*before, step] = Stop(along=along, once=once)
        return network

    def _trajectory(self, before: Recipe, step: Retrain) -> Retraining:
        """The trajectory that leads to a step, begun anew where it has gone too far."""
        key = trajectory_of((*before, step))
        known = self._trajectories.get(key)
        if known is None or known.steps > known.steps_of(step.epochs):
            train, loss = lessons(self.task, step.teacher)
            network = self._taken(before)
            coding = self._coding(before) if is_quantized(before) else None
            known = Retraining(
                network,
                self.pruned(before),
                train,
                loss=loss,
                settings=step,
                seed=chip_seed(self._seed, self._chip, self._purpose(before)),
                coding=coding,
                losing=lost_in_training(self._missed),
            )
            if isinstance(step.schedule, Anytime):
                self._trajectories[key] = known
        return known

    def _purpose(self, before: Recipe) -> str:
        """What retraining is for: what has been trained before goes on with other samples."""
        if not is_patched(before):
            return "retrain"
        return f"retrain after {retrained_epochs(self._patching.history(before)):g} epochs"

    def _better(self, recipe: Recipe) -> nn.Module:
        """The network after a recipe, or before its last retraining if that does better."""
        return self._taken(self._kept((*recipe, KeepBetter())))

    def _kept(self, recipe: Recipe) -> Recipe:
        """What a recipe that ends with keeping the better one comes to; any other is itself."""
        while recipe and isinstance(recipe[-1], KeepBetter):
            after, ahead = recipe[:-1], ahead_of_retraining(recipe)
            worse = self.validation(ahead).mean() > self.validation(after).mean()
            recipe = ahead if worse else after
        return recipe

    def _looks_of(self, done: Recipe, step: Step) -> list[tuple[Recipe, float]]:
        """Networks that a step looks at, by their recipes, and at which share."""
        if isinstance(step, Measure):
            return [(self._kept(done), step.share)]
        if isinstance(step, KeepBetter):
            return [(self._kept(done[:-1]), 1.0), (ahead_of_retraining(done), 1.0)]
        return []

    def _work(self, ee: float) -> None:
        self._worked += ee
        self._tick(self._worked)
