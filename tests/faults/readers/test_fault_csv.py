import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chipmend.errors import ArrayError, LotError, StoreError
from chipmend.faults import (
    Clustered,
    Lines,
    MacsAt,
    Provenance,
    StuckAt,
    make_chips,
    read_csv,
    write_csv,
)
from chipmend.hardware import Array, WeightMemory

HEADER = "chip,class,row,col,word,bit,value"
SIZE = (4, 5)
ARRAY = Array(rows=4, cols=5)
WITH_MEMORY = Array(rows=4, cols=5, memory=WeightMemory(words=20, bits=6))


@pytest.fixture
def read(tmp_path):
    def reading(*lines, header=HEADER, end="\n", encoding="utf-8", array=SIZE):
        path = tmp_path / "faults.csv"
        path.write_bytes(("\n".join([header, *lines]) + end).encode(encoding))
        return read_csv(path, array)

    return reading


def refusal(read, *lines, **how):
    with pytest.raises(LotError) as caught:
        read(*lines, **how)
    assert "faults.csv" in caught.value.message
    assert caught.value.hint
    return caught.value.message


def test_every_class_is_read(read):
    lot = read(
        "a,pe,3,4,,,",
        "b,dead_row,1,,,,",
        "a,pe,0,0,,,",
        "b,dead_row,2,3,,,",
        "b,dead_col,,4,,,",
        "c,fatal,,,,,clock tree",
        "d,none,,,,,",
    )
    a, b, c, d = lot
    assert [chip.id for chip in lot] == ["a", "b", "c", "d"]
    assert a.faults.unusable.nonzero()[0].tolist() == [0, 3]
    assert a.faults.unusable.nonzero()[1].tolist() == [0, 4]
    assert b.faults.dead_rows == ((1, 0), (2, 3))
    assert b.faults.dead_cols == (4,)
    assert c.faults.fatal == "clock tree"
    assert (c.faults.rate, d.faults.rate, d.faults.fatal) == (0, 0, "")


def test_stuck_bits_are_read_beside_other_faults(read):
    lot = read(
        "a,stuck_bit,,,19,5,1",
        "a,pe,3,4,,,",
        "a,stuck_bit,,,0,0,0",
        "a,stuck_bit,,,19,5,1",
        "b,none,,,,,",
        array=WITH_MEMORY,
    )
    assert lot[0].faults.stuck.listed() == [(0, 0, 0), (19, 5, 1)]
    assert (lot[0].faults.stuck.words, lot[0].faults.stuck.bits) == (20, 6)
    assert lot[0].faults.faulty_pes.sum() == 1
    assert lot[1].faults.stuck is None


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("a,stuck_bit,,,20,0,1", "line 3: word 20 lies outside the memory of 20 words (counted"),
        ("a,stuck_bit,,,-1,0,1", "line 3: word -1 lies outside"),
        ("a,stuck_bit,,,0,6,1", "line 3: bit 6 lies outside a word of 6 bits (counted from 0)"),
        ("a,stuck_bit,,,0,0,2", "line 3: value is 2; a bit is stuck at 0 or 1"),
        ("a,stuck_bit,,,0,x,1", "line 3: bit is 'x', not a whole number"),
        ("a,stuck_bit,,,7,3,0", "line 3: bit 3 of word 7 is stuck at 0, on line 2 at 1"),
        ("a,stuck_bit,1,,7,3,1", "line 3: class stuck_bit has no row"),
        ("a,none,,,,,", "line 2: the chip has class none and faults as well"),
    ],
)
def test_a_wrong_stuck_bit_is_named(read, line, why):
    assert why in refusal(read, "a,stuck_bit,,,7,3,1", line, array=WITH_MEMORY)


def test_stuck_bits_of_datapaths_are_read(read):
    (chip,) = read(
        "a,accumulator_bit,3,4,,31,1",
        "a,weight_bit,0,1,,7,0",
        "a,product_bit,0,1,,15,0",
        "a,weight_bit,0,1,,7,0",
    )
    assert chip.faults.macs.listed() == [
        (0, 1, "weight", 7, 0),
        (0, 1, "product", 15, 0),
        (3, 4, "accumulator", 31, 1),
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("a,weight_bit,0,1,,6,1", "line 3: bit 6 lies outside the weight, which has 6 bits"),
        ("a,product_bit,0,1,,14,1", "line 3: bit 14 lies outside the product, which has 14 bits"),
        ("a,accumulator_bit,4,1,,0,1", "line 3: row 4 lies outside the array"),
        ("a,accumulator_bit,0,1,,0,2", "line 3: value is 2; a bit is stuck at 0 or 1"),
        ("a,accumulator_bit,0,1,,0,", "line 3: class accumulator_bit needs value"),
        ("a,accumulator_bit,2,1,,9,0", "of PE (2, 1) is stuck at 0, on line 2 at 1"),
        ("a,none,,,,,", "line 2: the chip has class none and faults as well"),
        ("a,adder_bit,0,1,,0,1", "line 3: unknown class 'adder_bit'"),
    ],
)
def test_a_wrong_bit_of_a_datapath_is_named(read, line, why):
    assert why in refusal(read, "a,accumulator_bit,2,1,,9,1", line, array=WITH_MEMORY)


def test_what_is_said_about_a_chip_is_read(read):
    more = "lot,wafer,x,y,version,source,tester,date,tester_seconds"
    chip = read(
        "a,pe,0,0,,,,L1,W2,-3,4,2,probe,T9,2024-05-01,1.5",
        "a,pe,0,1,,,,,,,,,,,,",
        "a,pe,0,2,,,,L1,,,,,,,,1.5",
        header=f"{HEADER},{more}",
    )[0]
    assert (chip.lot, chip.wafer, chip.x, chip.y, chip.faults.version) == ("L1", "W2", -3, 4, 2)
    assert chip.faults.provenance == Provenance("probe", "T9", "2024-05-01", 1.5)


def test_without_a_source_the_file_is_the_source(read):
    assert read("a,none,,,,,")[0].faults.provenance == Provenance("faults.csv")


def test_columns_may_stand_in_any_order_and_blanks_do_not_count(read):
    lot = read(" 1 , pe,,, a ,,2 ", "", header="row, class,word,bit,chip,value,col")
    assert lot[0].id == "a"
    assert lot[0].faults.faulty_pes[1, 2]


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "faults.csv"
    path.write_bytes(f"\ufeff{HEADER}\r\na,pe,0,0,,,\r\n".encode())
    assert read_csv(str(path), ARRAY)[0].faults.faulty_pes[0, 0]


@pytest.mark.parametrize("last", ["a,pe,1,1,,,", "a,fatal,,,,,clo", "b,none,,,,,"])
def test_a_last_line_without_its_end_may_be_half_written_and_is_refused(read, last):
    assert "line 3: the file breaks off in this line" in refusal(read, "a,pe,1,1,,,", last, end="")
    assert len(read("a,pe,1,1,,,", "b,none,,,,,", end="\r\n")) == 2


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("a,pe,0,x,,,", "line 2: col is 'x', not a whole number"),
        ("a,pe,1.0,0,,,", "line 2: row is '1.0', not a whole number"),
        ("a,pe,1_0,0,,,", "line 2: row is '1_0', not a whole number"),
        ("a,pe,٣,0,,,", "not a whole number"),
        (f"a,pe,{'9' * 5000},0,,,", "not a whole number"),
        ("a,pe,4,0,,,", "line 2: row 4 lies outside the array of 4 x 5"),
        ("a,pe,0,5,,,", "line 2: col 5 lies outside the array of 4 x 5"),
        ("a,pe,-1,0,,,", "line 2: row -1 lies outside"),
        ("a,dead_row,9,,,,", "row 9 lies outside"),
        ("a,dead_row,0,9,,,", "col 9 lies outside"),
        ("a,dead_col,,9,,,", "col 9 lies outside"),
        ("a,pe,1,,,,", "line 2: class pe needs col"),
        ("a,pe,,,,,", "line 2: class pe needs row and col"),
        ("a,dead_row,,3,,,", "class dead_row needs row"),
        ("a,dead_col,,,,,", "class dead_col needs col"),
        ("a,fatal,,,,,", "class fatal needs value"),
        ("a,pe,1,1,7,,1", "class pe has no word and no value"),
        ("a,none,1,,,,", "class none has no row"),
        ("a,dead_cl,,1,,,", "unknown class 'dead_cl' (did you mean dead_col?)"),
        ("a,PE,1,1,,,", "unknown class 'PE' (did you mean pe?)"),
        (
            "a,,1,1,,,",
            "unknown class ''; this reader knows pe, dead_row, dead_col, stuck_bit, weight_bit, "
            "product_bit, accumulator_bit, fatal",
        ),
        ("a,stuck_bit,,,17,3,1", "line 2: a stuck bit of a weight memory whose size is not stated"),
        ("a,stuck_bit,,,17,3,", "line 2: class stuck_bit needs value"),
        (",pe,1,1,,,", "line 2: no chip is named"),
        ("a,pe,1", "line 2: has 3 fields, the header has 7"),
        ("a,pe,1,1,,,,,", "line 2: has 9 fields, the header has 7"),
        ('a,pe,1,1,,,"x', "cannot be read as CSV"),
        ('a,fatal,,,,,"x\ty"', r"'x\ty'"),
        ('"a\nb",none,,,,,', "line 3: chip id"),
    ],
)
def test_a_wrong_line_is_named(read, line, why):
    assert why in refusal(read, line)


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ("x,,1,", "line 2: x is 'x', not a whole number"),
        (",1.5,1,", "line 2: y is '1.5', not a whole number"),
        (",,0,", "line 2: version 0; tests of a chip count from 1"),
        (",,new,", "line 2: version is 'new', not a whole number"),
        (",,,fast", "line 2: tester_seconds is 'fast', not a number of seconds"),
        (",,,-1", "line 2: tester_seconds is '-1'"),
        (",,,nan", "line 2: tester_seconds is 'nan'"),
    ],
)
def test_a_wrong_word_about_a_chip_is_named(read, cells, why):
    assert why in refusal(
        read, f"a,none,,,,,,{cells}", header=f"{HEADER},x,y,version,tester_seconds"
    )


def test_a_file_that_breaks_off_says_so(read):
    message = refusal(read, "a,pe,1,1,,,", "a,pe,1", end="")
    assert "line 3: has 3 fields" in message
    assert "line 3: the file breaks off in this line" in message


def test_all_missing_columns_are_named(read):
    assert "missing: 'row', 'word', 'value'" in refusal(read, header="chip,class,col,bit")


def test_unknown_and_repeated_columns_are_named(read):
    message = refusal(read, header=f"{HEADER},waffer,row")
    assert "unknown: 'waffer'; twice: 'row'" in message


def test_contradictions_about_one_chip_are_named(read):
    message = refusal(
        read,
        "a,none,,,,,,L1",
        "a,pe,0,0,,,,L2",
        "b,fatal,,,,,clock,",
        "b,fatal,,,,,power,",
        header=f"{HEADER},lot",
    )
    assert "line 3: lot is 'L2', on line 2 it is 'L1'" in message
    assert "line 2: the chip has class none and faults as well" in message
    assert "line 4: the chip is fatal for different reasons, lines 4 and 5" in message


def test_problems_come_all_at_once_and_end_at_twenty(read):
    assert refusal(read, "a,pe,9,0,,,", "b,pe,8,0,,,").count("outside") == 2
    message = refusal(read, *["a,pe,9,0,,,"] * 30)
    assert message.count("outside") == 20
    assert "only the first problems are shown" in message


def test_an_empty_file_and_one_without_chips_are_refused(read):
    assert "is empty" in refusal(read, header="")
    assert "is empty" in refusal(read, header="", end="")
    assert "has no chips" in refusal(read)


def test_a_file_that_is_not_utf_8_names_the_line(read):
    assert "line 3: not UTF-8" in refusal(read, "a,none,,,,,", "ü,none,,,,,", encoding="latin-1")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(LotError, match=r"cannot read the faults in .*none\.csv"):
        read_csv(tmp_path / "none.csv", SIZE)


def test_an_array_without_pes_is_refused(read, tmp_path):
    read("a,none,,,,,")
    with pytest.raises(ArrayError):
        read_csv(tmp_path / "faults.csv", (0, 5))


@pytest.mark.parametrize("spatial", [Clustered(), Lines()])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_a_made_lot_survives_the_round_trip(tmp_path, spatial, rate):
    lot = make_chips(ARRAY, rate=rate, count=5, spatial=spatial, lot="L1")
    assert list(read_csv(write_csv(lot, tmp_path / "a.csv"), ARRAY)) == list(lot)


def test_a_lot_with_stuck_bits_survives_the_round_trip(tmp_path):
    stuck = StuckAt(rate=(0, 0.4), at_1=0.7)
    macs = MacsAt(rate=0.2, sites=("weight", "product", "accumulator"))
    lot = make_chips(WITH_MEMORY, rate=(0, 0.3), count=6, spread="even", stuck=stuck, macs=macs)
    assert any(chip.faults.macs for chip in lot)
    assert list(read_csv(write_csv(lot, tmp_path / "a.csv"), WITH_MEMORY)) == list(lot)


def test_a_lot_is_written_as_documented(tmp_path, read):
    lot = read("a,dead_row,1,2,,,", "a,pe,3,4,,,", 'b,fatal,,,,,"clock, power"', "c,none,,,,,")
    assert write_csv(lot, tmp_path / "b.csv").read_text().splitlines() == [
        f"{HEADER},lot,wafer,x,y,version,source,tester,date,tester_seconds",
        "a,dead_row,1,2,,,,,,,,1,faults.csv,,,",
        "a,pe,3,4,,,,,,,,,,,,",
        'b,fatal,,,,,"clock, power",,,,,1,faults.csv,,,',
        "c,none,,,,,,,,,,1,faults.csv,,,",
    ]


def test_a_folder_cannot_be_written_to_as_a_file(tmp_path):
    with pytest.raises(StoreError):
        write_csv(make_chips(ARRAY, rate=0, count=1), tmp_path)


CELLS = st.sampled_from(
    ["a", "b", "pe", "dead_row", "stuck_bit", "none", "fatal", "0", "1", "-1", "9", "", '"', "x"]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(CELLS, max_size=9).map(",".join), max_size=6).map("\n".join).map(str.encode)
    | st.binary(max_size=60)
)
def test_no_file_raises_anything_but_a_lot_error(tmp_path, body):
    path = tmp_path / "faults.csv"
    path.write_bytes(HEADER.encode() + b"\n" + body)
    with contextlib.suppress(LotError):
        assert len(read_csv(path, WITH_MEMORY)) > 0
