"""Bayesian search: what is not known of a design, its accuracy under faults, is learned.

Area and cycles of every candidate are known, so that what an evaluation may gain is known but for
the probability that accuracy suffices. A Gaussian process learns the logarithm of the drop from the
design's parameters and from the harm that the vulnerability of neurons and bits lets expect. The
next design is the one of the greatest expected gain: what it saves of area, times that probability.

References:
    [Balandat2020] Balandat et al., "BoTorch: a framework for efficient Monte-Carlo Bayesian
        optimization", NeurIPS 2020.
    [Gardner2014] Gardner et al., "Bayesian optimization with inequality constraints", ICML 2014.
"""

import warnings
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from scipy.stats import norm

from chipmend.errors import MissingExtraError
from chipmend.extras import imported
from chipmend.protect.design.evaluation import Evaluation, Targets
from chipmend.protect.design.parameters import Design
from chipmend.protect.search.candidates import Candidates
from chipmend.protect.search.protocol import best

FIRST = 4
"""Designs that are looked at before anything is learned: along the front of area and harm."""
TOGETHER = 500
"""Designs of which something is told at once: all covariances among them are computed."""
FLOOR = 0.002
"""Added to drops before logarithms are taken: smaller ones are alike."""


def found_botorch() -> bool:
    """Whether BoTorch is installed, and can be imported."""
    try:
        _parts()
    except MissingExtraError:
        return False
    return True


class Bayesian:
    """Learns which designs suffice, and asks for the one of the greatest expected gain.

    Args:
        candidates: The candidates.
        targets: What is to be reached.
        seed: Of the designs that are looked at first, and of what is fitted.

    Raises:
        MissingExtraError: BoTorch is not installed.
    """

    def __init__(self, candidates: Candidates, targets: Targets, *, seed: int) -> None:
        self._candidates, self._targets, self._seed = candidates, targets, seed
        self._told, self._asked = dict[Design, Evaluation](), set[Design]()
        self._fit, self._process = _parts()
        self._first = _along(candidates, seed)

    def ask(self) -> Design | None:
        """The next design to evaluate; none if no other can be smaller than the best so far."""
        while self._first:
            if (found := self._candidates.known[self._first.pop()].design) not in self._asked:
                self._asked.add(found)
                return found
        so_far = best(self._told.values())
        least = np.inf if so_far is None else so_far.costs.area.total
        left = self._candidates.areas < least
        left[[self._candidates.at[d] for d in self._asked if d in self._candidates.at]] = False
        if not left.any():
            return None
        gains = np.where(left, self._gains(), -np.inf)
        found = self._candidates.known[int(gains.argmax())].design
        self._asked.add(found)
        return found

    def tell(self, evaluation: Evaluation) -> None:
        """Tell what a design comes to."""
        self._told[evaluation.design] = evaluation
        self._asked.add(evaluation.design)

    def _gains(self) -> Float64[np.ndarray, " designs"]:
        """The logarithm of what each candidate is expected to gain."""
        sure = norm.logsf(self._scores())
        areas, so_far = self._candidates.areas, best(self._told.values())
        if so_far is None:
            return sure
        pending = self._asked - self._told.keys()
        held = [areas[self._candidates.at[d]] for d in pending]
        least = min([so_far.costs.area.total, *held])
        saved = least - areas
        return np.where(saved > 0, np.log(np.maximum(saved, 1e-9)), -1e9) + sure

    def _scores(self) -> Float64[np.ndarray, " designs"]:
        """By how many deviations each candidate is expected to be worse than is allowed."""
        told = [e for e in self._told.values() if e.fall and e.design in self._candidates.at]
        allowed = np.log10(self._targets.drop_under_faults + FLOOR)
        if len(told) < 2:
            return self._candidates.harms - self._candidates.harms.mean()
        places = [self._candidates.at[e.design] for e in told]
        features = torch.from_numpy(self._candidates.features)
        # what has to be shown is that the drop is surely no larger
        sure = norm.ppf(self._targets.confidence)
        drops = np.array([max(e.fall.drop + sure * e.fall.error, 0) for e in told if e.fall])
        seen = np.log10(drops + FLOOR)
        middle, spread = seen.mean(), max(seen.std(), 1e-3)
        values = torch.from_numpy((seen - middle) / spread)[:, None]
        with warnings.catch_warnings(), torch.random.fork_rng():
            warnings.simplefilter("ignore")  # of fits that are tried again
            torch.manual_seed(self._seed)
            model = self._process(features[places], values)
            self._fit(model)
            with torch.no_grad():
                found = [model.posterior(some) for some in features.split(TOGETHER)]
        mean = torch.cat([each.mean for each in found])[:, 0].numpy() * spread + middle
        variance = torch.cat([each.variance for each in found])[:, 0].numpy()
        return (mean - allowed) / np.maximum(np.sqrt(variance) * spread, 1e-6)


def _parts() -> tuple[Any, Any]:
    """What fits a Gaussian process, and what makes one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it uses of PyTorch
        models = imported("botorch.models", extra="design")
        fit = imported("botorch.fit", extra="design")
        likelihood = imported("gpytorch.mlls", extra="design").ExactMarginalLogLikelihood

    def fitted(model: Any) -> None:
        fit.fit_gpytorch_mll(likelihood(model.likelihood, model))

    return fitted, models.SingleTaskGP


def _along(candidates: Candidates, seed: int) -> list[int]:
    """Of each stretch of the front of area and expected harm a candidate, drawn by chance."""
    rng, stretches = np.random.default_rng(seed), np.array_split(candidates.front, FIRST)
    found = [int(rng.choice(stretch)) for stretch in stretches if len(stretch)]
    return [found[at] for at in rng.permutation(len(found))]
