"""Search for the design of least area: asked for designs, told what they come to."""

from chipmend.protect.search.bayesian import Bayesian, found_botorch
from chipmend.protect.search.candidates import Candidates
from chipmend.protect.search.greedy import SobolGreedy
from chipmend.protect.search.protocol import Search, best
from chipmend.protect.search.random_search import RandomSearch
from chipmend.protect.search.settings import Searching

__all__ = [
    "Bayesian",
    "Candidates",
    "RandomSearch",
    "Search",
    "Searching",
    "SobolGreedy",
    "best",
    "found_botorch",
]
