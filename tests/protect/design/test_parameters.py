from dataclasses import replace

import numpy as np
import pytest

from chipmend.errors import PlanError
from chipmend.hardware import Accumulators, Array
from chipmend.protect.design import Design, Space
from chipmend.protect.design.parameters import DIMENSIONS

ARRAY = Array(rows=4, cols=3, accumulators=Accumulators(bits=22))
SMALL = Space(
    ordinary_bits=(0, 2), important=(0.0, 0.1), spread=("network",), important_bits=(4,), lanes=(2,)
)


def test_what_has_no_effect_is_left_out():
    design = Design(rows=4, cols=3, accumulator_bits=22, important=0.1, spread="layer", bare_bits=1)
    assert design.plain() == Design(rows=4, cols=3, accumulator_bits=22)
    with_lanes = replace(design, lanes=2, bare_bits=0)
    assert with_lanes.plain() == with_lanes
    extended = replace(design, sign_extension=True, ordinary_bits=1)
    assert extended.plain().bare_bits == 1


def test_every_design_is_there_once():
    designs = SMALL.designs(ARRAY)
    assert len(designs) == len(set(designs))
    # bare columns: 3 counts of bits with and without the unit; extended ones: none of 0 bits has
    # bare bits without lanes, all others have 0, 1 or 2 of them
    assert len(designs) == 3 * (2 * 3 + (1 + 2 * 3) + 3 * 3)  # of each range of activations
    assert {design.accumulator_bits for design in designs} == {22}


def test_points_of_the_cube_reach_every_design():
    rng = np.random.default_rng(0)
    drawn = {SMALL.at(ARRAY, point) for point in rng.random((2000, DIMENSIONS)).tolist()}
    assert drawn == set(SMALL.designs(ARRAY))


def test_bits_beyond_the_accumulator_stand_for_all_of_it():
    space = Space(accumulator_bits=(16, 20), ordinary_bits=(18, 32), important=(0.0,))
    found = {(d.accumulator_bits, d.ordinary_bits) for d in space.designs(ARRAY)}
    assert found == {(16, 16), (20, 18), (20, 19), (20, 20)}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"important": ()}, "important is empty"),
        ({"important": (1.5,)}, "important has 1.5"),
        ({"ordinary_bits": (5, 2)}, "goes from 5 to 2"),
        ({"lanes": (0,)}, "lanes has 0"),
        ({"important_bits": (float("nan"),)}, "important_bits has nan"),
        ({"shifts": (40,)}, "shifts has 40"),
        ({"activation_range": (0.0,)}, "activation_range has 0.0"),
    ],
)
def test_values_out_of_range_are_refused(given, said):
    with pytest.raises(PlanError, match=said):
        Space(**given)
