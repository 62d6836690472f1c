import xml.etree.ElementTree as ET
from dataclasses import replace

from chipmend.hardware import Accumulators, Array
from chipmend.protect.study import Row
from chipmend.report.block_diagram import block_diagram
from protect.design.examples import BARE
from protect.search.examples import evaluator, measured

ARRAY = Array(rows=4, cols=3, accumulators=Accumulators(bits=22))
FOUND = {
    "sign_extension": True,
    "ordinary_bits": 2,
    "important": 0.1,
    "lanes": 4,
    "important_bits": 22,
}


def drawn(**given):
    found = measured(evaluator().known(replace(BARE, **given)))
    return block_diagram(Row(name="found", evaluation=found), ARRAY)


def test_the_drawing_has_what_the_design_has():
    bare, whole = drawn(), drawn(**FOUND)
    for drawing in (bare, whole):
        ET.fromstring(drawing)
    assert "dot-product unit" in whole
    assert "signs extended" in whole
    assert "dot-product unit" not in bare
    assert "none protected" in bare
