import json

import numpy as np
import pytest

import chipmend as cm
from chipmend.cli.app import out


@pytest.fixture
def lot(workshop):
    workshop.done("chips", "make", "--array", "4x6", "--rate", "0.1:0.5", "--count", "5", "-o", "l")
    return workshop.folder / "l"


def test_made_chips_are_those_of_the_python_call(workshop):
    words = "make --array 4x6 --rate 0.1:0.5 --count 5 --spatial clustered --alpha 0.5 --seed 3"
    shown = workshop.done("chips", *words.split(), "--spread", "even", "--nested", "-o", "lot.npz")
    expected = cm.make_chips(
        cm.Array(rows=4, cols=6),
        rate=(0.1, 0.5),
        count=5,
        spatial=cm.Clustered(alpha=0.5),
        spread="even",
        nested=True,
        seed=3,
    )
    assert list(cm.read_chips("lot.npz")) == list(expected)
    assert shown.splitlines()[0] == "5 chips of 4 x 6 PEs"
    assert shown.splitlines()[-1] == "lot.npz"


@pytest.mark.parametrize("spatial", ["uniform", "clustered", "lines"])
def test_every_spatial_distribution_can_be_made(workshop, spatial):
    workshop.done(
        "chips", "make", "--array", "4x4", "--rate", "0.3", "--spatial", spatial, "-o", "l"
    )
    assert len(cm.read_chips("l")) == 1


def test_the_summary_counts_what_is_in_the_lot(workshop, lot):
    workshop.done("chips", "show", lot, "--json", "s.json")
    summary, chips = workshop.summary(), cm.read_chips(lot)
    rates = [chip.faults.rate for chip in chips]
    assert summary["chips"] == 5
    assert summary["array"] == [4, 6]
    assert summary["rate_per_pe"] == pytest.approx(
        {"min": min(rates), "mean": np.mean(rates), "max": max(rates)}
    )
    faulty = sum(int(chip.faults.faulty_pes.sum()) for chip in chips)
    none = {"dead_row": 0, "dead_col": 0, "stuck_bit": 0, "stuck_mac_bit": 0, "fatal": 0}
    assert summary["classes"] == {"pe": faulty, **none}


MEMORY = "--stuck 0:0.2 --words 40 --bits 6 --cells word_lines --at-1 0.8"


def test_made_stuck_bits_are_those_of_the_python_call(workshop):
    words = f"make --array 4x6 --rate 0.1 --count 3 --spread even {MEMORY} -o l"
    shown = workshop.done("chips", *words.split(), "--json", "s.json")
    memory = cm.WeightMemory(words=40, bits=6)
    expected = cm.make_chips(
        cm.Array(rows=4, cols=6, memory=memory),
        rate=0.1,
        count=3,
        spread="even",
        stuck=cm.StuckAt(rate=(0, 0.2), cells=cm.WordLines(), at_1=0.8),
    )
    assert list(cm.read_chips("l")) == list(expected)
    counts = [chip.faults.stuck.count if chip.faults.stuck else 0 for chip in expected]
    assert workshop.summary()["classes"]["stuck_bit"] == sum(counts) > 0
    assert workshop.summary()["memory"] == {"words": 40, "bits": 6}
    assert workshop.summary()["rate_per_bit"]["mean"] == pytest.approx(sum(counts) / 3 / 240)
    assert "stuck bits of 40 words of 6 bits (base: per bit): min 0 %" in shown


def test_stuck_bits_survive_export_and_import(workshop):
    workshop.done("chips", *f"make --array 4x6 --rate 0.1 --count 3 {MEMORY} -o l".split())
    workshop.done("chips", "export", "l", "-o", "f.csv")
    size = "--array 4x6 --words 40 --bits 6 -o again"
    workshop.done("chips", "import", "f.csv", *size.split())
    assert list(cm.read_chips("again")) == list(cm.read_chips("l"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--stuck 0.1", "unstated size"),
        ("--stuck lots --words 9", "--stuck lots: not a rate"),
        ("--stuck 2 --words 9", "rate of stuck bits of 2.0"),
        ("--stuck 0.1 --words 0", "words is 0"),
        ("--stuck 0.1 --words 9 --bits 9", "bits is 9"),
        ("--at-1 0.2 --words 9", "none are asked for"),
        ("--cells bit_lines", "none are asked for"),
    ],
)
def test_stuck_bits_that_cannot_be_made_are_an_error_of_ours(workshop, words, said):
    assert said in workshop.refused("chips", *f"make --array 4x4 --rate 0.1 {words} -o l".split())


def test_stuck_macs_are_made_exported_and_imported(workshop):
    words = "--macs 0.1 --sites product,accumulator --mac-bits 9:12 --accumulators 20"
    workshop.done("chips", *f"make --array 8x8 --rate 0 --count 3 {words} -o l".split())
    chips = list(cm.read_chips("l"))
    bits = [bit for chip in chips if chip.faults.macs for bit in chip.faults.macs.listed()]
    assert len(bits) > 3
    assert {bit[2] for bit in bits} == {"product", "accumulator"}
    assert {bit[3] for bit in bits} <= {9, 10, 11, 12}
    workshop.done("chips", "export", "l", "-o", "f.csv")
    size = "--array 8x8 --accumulators 20 -o again"
    workshop.done("chips", "import", "f.csv", *size.split())
    assert list(cm.read_chips("again")) == chips


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--sites product", "none is asked for"),
        ("--macs 0.1 --sites adder", "sites ('adder',)"),
        ("--macs 0.1 --mac-bits 3", "--mac-bits 3: not a range"),
        ("--macs 0.1 --mac-bits 3:32", "bits 3 to 32 of the accumulator, which has 32"),
        ("--macs 1.5", "a rate of 1.5"),
        ("--macs 0.1 --accumulators 40", "bits is 40"),
    ],
)
def test_stuck_macs_that_cannot_be_made_are_an_error_of_ours(workshop, words, said):
    assert said in workshop.refused("chips", *f"make --array 8x8 --rate 0 {words} -o l".split())


def test_a_csv_with_stuck_bits_needs_the_size_of_the_memory(workshop):
    workshop.done("chips", *f"make --array 4x6 --rate 0.1 --count 3 {MEMORY} -o l".split())
    workshop.done("chips", "export", "l", "-o", "f.csv")
    said = workshop.refused("chips", "import", "f.csv", "--array", "4x6", "-o", "again")
    assert "weight memory whose size is not stated" in said
    assert "--words" in said


def test_export_and_import_give_the_same_lot_back(workshop, lot):
    workshop.done("chips", "export", lot, "-o", "f.csv")
    workshop.done("chips", "import", "f.csv", "--array", "4x6", "-o", "again", "--json", "s.json")
    again = cm.read_chips("again")
    assert [(c.id, c.faults.digest()) for c in again] == [
        (c.id, c.faults.digest()) for c in cm.read_chips(lot)
    ]
    assert workshop.summary()["chips"] == 5


def test_show_pictures_the_chip_that_is_asked_for(workshop, lot):
    shown = workshop.done("chips", "show", lot, "--chip", "chip-0002", "--picture", "p.png")
    rate = cm.read_chips(lot)[1].faults.rate
    assert f"chip chip-0002: {100 * rate:.3g} %" in shown
    assert (workshop.folder / "p.png").read_bytes().startswith(b"\x89PNG")
    assert shown.splitlines()[-1] == "p.png"


def test_show_takes_the_chip_in_the_middle_by_itself(workshop, lot):
    assert "chip chip-0003: " in workshop.done("chips", "show", lot)


def test_the_base_of_a_rate_stands_next_to_it(workshop, lot):
    assert "base: per PE" in workshop.done("chips", "show", lot)


def test_the_same_command_makes_the_same_bytes(workshop, lot):
    before = lot.read_bytes()
    workshop.done("chips", "make", "--array", "4x6", "--rate", "0.1:0.5", "--count", "5", "-o", lot)
    assert lot.read_bytes() == before


def test_every_verb_writes_a_summary(workshop, lot):
    verbs = (
        ["make", "--array", "4x4", "--rate", "0.1", "-o", "m"],
        ["export", lot, "-o", "e.csv"],
        ["import", "e.csv", "--array", "4x6", "-o", "i"],
        ["show", lot],
    )
    for number, verb in enumerate(verbs):
        workshop.done("chips", *verb, "--json", f"{number}.json")
        assert json.loads((workshop.folder / f"{number}.json").read_text())["chips"] in (1, 5)


def test_names_of_chips_are_shown_as_they_are(workshop):
    pes = np.zeros((2, 2), bool)
    faults = cm.FaultMap(rows=2, cols=2, faulty_pes=pes)
    cm.write_chips([cm.Chip("[/b]", faults), cm.Chip("[red]x[/red]", faults)], "lot.npz")
    assert "chip [/b]:" in workshop.done("chips", "show", "lot.npz", "--chip", "[/b]")
    assert "chip [red]x[/red]:" in workshop.done("chips", "show", "lot.npz")


def test_faults_are_counted_by_class(workshop):
    pes = np.zeros((4, 4), bool)
    pes[0, :3] = True
    broken = cm.FaultMap(rows=4, cols=4, faulty_pes=pes, dead_rows=((1, 0), (2, 2)), dead_cols=(3,))
    dead = cm.FaultMap(rows=4, cols=4, faulty_pes=~pes, fatal="no clock")
    cm.write_chips([cm.Chip("a", broken), cm.Chip("b", dead)], "lot.npz")
    workshop.done("chips", "show", "lot.npz", "--json", "s.json")
    assert workshop.summary()["classes"] == {
        "pe": 3 + 13,
        "dead_row": 2,
        "dead_col": 1,
        "stuck_bit": 0,
        "stuck_mac_bit": 0,
        "fatal": 1,
    }


@pytest.mark.parametrize("size", ["²x4", "1000000x1000000", "4x", "axb", "4x4x4", "-4x4"])
def test_a_size_that_is_none_is_an_error_of_ours(workshop, size):
    workshop.refused("chips", "make", "--array", size, "--rate", "0.1", "-o", "l")


@pytest.mark.parametrize("count", ["1.5", "1e1", "0", "-1", "many"])
def test_a_count_that_is_none_is_an_error_of_ours(workshop, count):
    words = ("--array", "4x4", "--rate", "0.1", "-o", "l")
    workshop.refused("chips", "make", *words, f"--count={count}")


def test_wafers_and_time_on_the_tester_are_shown(workshop):
    head = "chip,class,row,col,word,bit,value,lot,wafer,x,y,tester_seconds\n"
    first = "a,pe,0,0,,,,L,W1,0,0,1.5\nb,none,,,,,,L,W1,1,0,2\n"
    others = "c,none,,,,,,L,W2,0,0,\nd,none,,,,,,L,,,,\n"
    (workshop.folder / "f.csv").write_text(head + first + others)
    said = workshop.done(
        "chips", "import", "f.csv", "--array", "2x2", "-o", "l", "--json", "s.json"
    )
    assert "3 chips have their place on one of 2 wafers" in said
    assert "3.5 s on the tester for 2 chips" in said
    summary = workshop.summary("s.json")
    assert (summary["wafers"], summary["placed_chips"]) == (2, 3)
    assert (summary["tester_seconds"], summary["timed_chips"]) == (3.5, 2)


def test_what_looks_like_an_emoji_is_shown_as_it_is(workshop):
    csv = "chip,class,row,col,word,bit,value\nlot:100:3,none,,,,,\n"
    (workshop.folder / "f.csv").write_text(csv)
    workshop.done("chips", "import", "f.csv", "--array", "4x4", "-o", "a:x:.npz")
    assert "chip lot:100:3: 0 %" in workshop.done("chips", "show", "a:x:.npz")
    assert "0.5:x" in workshop.refused("chips", "make", "--array=4x4", "--rate=0.5:x", "-o=b")


def test_an_unrepairable_die_is_shown_as_such_and_left_out_of_the_rates(workshop, monkeypatch):
    monkeypatch.setattr(out, "width", 40)  # a narrow terminal wraps lines itself: none is broken
    csv = "chip,class,row,col,word,bit,value\na,pe,0,0,,,\nb,fatal,,,,,clock tree\n"
    (workshop.folder / "f.csv").write_text(csv)
    workshop.done("chips", "import", "f.csv", "--array", "2x2", "-o", "l", "--json", "s.json")
    assert workshop.summary()["rate_per_pe"] == {"min": 0.25, "mean": 0.25, "max": 0.25}
    shown = workshop.done("chips", "show", "l")
    assert "min 25 %, mean 25 %, max 25 %; 1 unrepairable left out" in shown
    assert "chip a: 25 % of PEs" in shown
    assert "chip b: unrepairable: clock tree" in workshop.done("chips", "show", "l", "--chip", "b")


def test_a_lot_of_unrepairable_dies_has_no_rates(workshop):
    csv = "chip,class,row,col,word,bit,value\nb,fatal,,,,,clock tree\n"
    (workshop.folder / "f.csv").write_text(csv)
    workshop.done("chips", "import", "f.csv", "--array", "2x2", "-o", "l", "--json", "s.json")
    assert workshop.summary()["rate_per_pe"] == {}
    shown = workshop.done("chips", "show", "l")
    assert "no chip can be repaired; 1 unrepairable left out" in shown
    assert "chip b: unrepairable: clock tree" in shown


def test_a_picture_keeps_its_lines_in_a_narrow_terminal(workshop, monkeypatch):
    workshop.done("chips", "make", "--array", "4x50", "--rate", "1", "-o", "l")
    monkeypatch.setenv("COLUMNS", "20")
    assert workshop.done("chips", "show", "l").splitlines()[-2:] == ["█" * 50] * 2


def test_show_tells_what_bypass_and_spares_do_without_a_repair(workshop):
    pes = np.zeros((8, 16), bool)
    pes[2, :5] = True  # of rows or columns, the row is the cheaper: 7 of 8 are left
    row = cm.FaultMap(rows=8, cols=16, faulty_pes=pes)
    one_per_region = np.zeros((8, 16), bool)
    one_per_region[0, [0, 8]] = True
    single = cm.FaultMap(rows=8, cols=16, faulty_pes=one_per_region)
    dead = cm.FaultMap(rows=8, cols=16, faulty_pes=~pes, fatal="no clock")
    cm.write_chips([cm.Chip(n, f) for n, f in zip("abc", (row, single, dead), strict=True)], "l")
    shown = workshop.done("chips", "show", "l", "--json", "s.json")
    left = workshop.summary()["pes_left_by_bypass"]
    assert left == {"min": 7 / 8, "mean": 7 / 8, "max": 7 / 8}
    covered = workshop.summary()["covered_by_spares"]
    assert covered["covered"] == 1
    assert covered["region"] == [8, 8]
    assert covered["interval_95"][0] < 1 / 3 < covered["interval_95"][1]
    assert "that hold faults: min 87.5 %, mean 87.5 %, max 87.5 %" in shown
    assert "one spare per 8 x 8 PEs covers 1 of 3 chips: 33.3 % (95 % interval " in shown


def test_regions_of_spares_are_no_larger_than_a_small_array(workshop, lot):
    assert "one spare per 4 x 6 PEs covers" in workshop.done("chips", "show", lot)
