"""A small network that is to be protected, with vulnerability as it is estimated."""

import functools

from torch.nn.functional import cross_entropy

from chipmend.protect.design import Design, Subject
from chipmend.protect.vulnerability import vulnerabilities
from chipmend.simulate.flips import BitErrors
from protect import small

ERRORS = BitErrors(accumulator=1e-3)
BARE = Design(rows=4, cols=3, accumulator_bits=22)


@functools.cache
def subject():
    inputs, targets = small.samples(128, 5)
    batches = [*zip(inputs.split(32), targets.split(32), strict=True)]
    network = small.network()
    found = vulnerabilities(network, batches, cross_entropy, array=small.ARRAY, seed=0)
    return Subject.of(network, small.ARRAY, found)
