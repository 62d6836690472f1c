"""The page about protection, from a made-up outcome."""

from dataclasses import replace

from chipmend.hardware import Accumulators, Array
from chipmend.protect.circuit import Synthesized, table
from chipmend.protect.design import Space
from chipmend.protect.design.permanent import Masked
from chipmend.protect.maps import LayerMap
from chipmend.protect.study import DesignOutcome, Row, Study
from chipmend.report.design import bits_in_words, design_in_words, page, write_design_report
from protect import small
from protect.design.examples import BARE
from protect.search.examples import TARGETS, evaluator, measured


def evaluation(**given):
    return measured(evaluator().known(replace(BARE, **given)))


AGAIN = {"important": 0.1, "lanes": 4, "important_bits": 22}
FOUND = {"sign_extension": True, "ordinary_bits": 2, **AGAIN}


def outcome():
    usual = {
        "no protection": {},
        "full TMR": {"ordinary_bits": 22},
        "uniform top bits": {"ordinary_bits": 12},
    }
    rows = [Row(name=name, evaluation=evaluation(**given)) for name, given in usual.items()]
    found = evaluation(**FOUND)
    masked = Masked(stuck_bits=0.25, columns=2)
    rows.append(Row(name="found", evaluation=found, test=found.fall, masked=masked))
    study = Study(
        errors=evaluator().errors,
        rows=tuple(rows),
        searched=tuple(evaluation(ordinary_bits=bits) for bits in (20, 3, 14)),
    )
    each = tuple(10.0 ** (bit - 22) for bit in range(22))
    layer = LayerMap(
        layer="a<b.weight", neurons=9, passes=2, width=18, ordinary=each, important=each
    )
    return DesignOutcome(
        array=Array(rows=4, cols=3, accumulators=Accumulators(bits=22)),
        targets=TARGETS,
        space=Space(),
        method="bayesian",
        float_accuracy=0.93,
        clean_accuracy=0.92,
        studies=(study,),
        maps=(layer,),
        shifts=(),
        area_error=max(fit.error for fit in table().values()),
        synthesized=(Synthesized(cells=812, transistors=4954),),
        notes=("the network was brought to 8 bits",),
    )


def test_the_page_says_what_was_found_and_shows_every_row():
    text = page(outcome())
    for words in ("no protection", "full TMR", "uniform top bits", "0.001 per accumulator bit"):
        assert words in text
    assert "10 % again on 4 lanes with 18 bits" in text
    assert "stand in for 2 column(s)" in text
    assert "4,954, in 812 cells" in text
    assert "a&lt;b" in text
    assert "a<b" not in text
    assert page(outcome()) == text


def test_the_page_is_one_file(tmp_path):
    path = write_design_report(outcome(), tmp_path / "report.html")
    text = path.read_text()
    assert "http" not in text.replace("http://www.w3.org", "")
    assert list(tmp_path.iterdir()) == [path]


def test_designs_in_words():
    assert design_in_words(evaluation(), small.ARRAY) == "nothing"
    assert design_in_words(evaluation(ordinary_bits=2), small.ARRAY) == "bits 20 to 21 in PEs"
    assert bits_in_words(evaluation(ordinary_bits=1)) == "bit 21"
    said = design_in_words(evaluation(buffers="ecc", **FOUND), small.ARRAY)
    assert said.startswith("signs extended, bits ")
    assert said.endswith("10 % again on 4 lanes with 18 bits, ECC")
    larger = replace(small.ARRAY, rows=8, accumulators=Accumulators(bits=24))
    assert design_in_words(evaluation(), larger) == "4 x 3 PEs, sums of 22 bits"
