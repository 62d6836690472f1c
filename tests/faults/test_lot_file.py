import contextlib
import io
import json
import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chipmend.errors import LotError, StoreError
from chipmend.faults import (
    Chip,
    Clustered,
    FaultMap,
    Lot,
    StuckBits,
    StuckMacs,
    make_chips,
    read_lot,
    write_lot,
)
from chipmend.faults.lot_file import _checksum
from chipmend.hardware import Array

SHARED_FOLDER = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def example():
    drawn = make_chips(Array(rows=5, cols=7), rate=0.3, count=2, spatial=Clustered(), lot="L1")
    dead = FaultMap(
        rows=5,
        cols=7,
        faulty_pes=np.zeros((5, 7), dtype=bool),
        dead_rows=((4, 6),),
        dead_cols=(0, 6),
        fatal="clock tree",
        version=3,
    )
    return Lot.of([*drawn, Chip("dead ✝", dead, "L1", "W2", -3, 4)])


def with_stuck_bits():
    """The same chips; the first has a few stuck bits, the last many, the other none."""
    few = StuckBits.of_bits(90, 8, [4, 7, 7], [0, 3, 6], [True, False, True])
    many = StuckBits.of_bits(90, 8, np.arange(80), np.arange(80) % 8, np.arange(80) % 3 > 0)
    return Lot.of(
        replace(chip, faults=replace(chip.faults, stuck=stuck))
        for chip, stuck in zip(example(), (few, None, many), strict=True)
    )


def with_stuck_macs(base=example):
    """Some chips; the first and the last have stuck bits in datapaths."""
    some = StuckMacs.of([(4, 6, "accumulator", 31, 1), (0, 0, "weight", 0, 0)])
    other = StuckMacs.of([(1, 1, "product", 15, 1)])
    return Lot.of(
        replace(chip, faults=replace(chip.faults, macs=macs))
        for chip, macs in zip(base(), (some, None, other), strict=True)
    )


def with_all():
    return with_stuck_macs(with_stuck_bits)


@pytest.fixture(params=[example, with_stuck_bits, with_stuck_macs, with_all])
def lot(request):
    return request.param()


@pytest.fixture
def path(tmp_path):
    return write_lot(example(), tmp_path / "lot.npz")


@pytest.fixture
def stuck_path(tmp_path):
    return write_lot(with_stuck_bits(), tmp_path / "stuck.npz")


def entries_of(path):
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive}


def rewritten(path, *, checksum=True, header=None, contents=None, **arrays):
    """A file that was changed by someone who knows the format, with or without its checksum."""
    entries = {**entries_of(path), **arrays}
    if contents is not None:
        old = json.loads(entries["contents"].tobytes())
        entries["contents"] = np.frombuffer(json.dumps(contents(old)).encode(), dtype=np.uint8)
    old = json.loads(entries.pop("header").tobytes())
    if checksum:
        hashed = {name: entries[name] for name in entries if name != "stuck"}
        old["sha256"] = _checksum(hashed, old["version"])
    new = np.frombuffer(json.dumps({**old, **(header or {})}).encode(), dtype=np.uint8)
    np.savez(path, header=new, **entries)
    return path


def refused(path, why):
    with pytest.raises(LotError, match=why) as caught:
        read_lot(path)
    assert str(path) in str(caught.value)
    assert caught.value.hint


def test_a_lot_comes_back_as_it_was_written(lot, tmp_path):
    path = write_lot(lot, tmp_path / "lot.npz")
    assert list(read_lot(path)) == list(lot)
    assert list(read_lot(str(path))) == list(lot)


def test_a_slice_can_be_written(lot, tmp_path):
    assert list(read_lot(write_lot(lot[::-2], tmp_path / "s.npz"))) == list(lot)[::-2]


def test_the_same_lot_gives_the_same_bytes(lot, tmp_path):
    path, again = tmp_path / "lot.npz", tmp_path / "again.npz"
    written = write_lot(lot, path).read_bytes()
    assert write_lot(list(lot), again).read_bytes() == written
    assert write_lot(read_lot(path), again).read_bytes() == written
    assert write_lot(read_lot(path), path).read_bytes() == written


def test_stuck_bits_stay_in_the_file_until_a_chip_is_asked_for(stuck_path):
    held = read_lot(stuck_path).stuck.held
    assert isinstance(held, np.memmap)
    assert not held.flags.writeable


def test_a_lot_is_written_as_the_oldest_version_that_holds_it(lot, tmp_path):
    header = json.loads(entries_of(write_lot(lot, tmp_path / "lot.npz"))["header"].tobytes())
    has_macs, has_stuck = (any(held) for held in ((c.faults.macs for c in lot), [lot.stuck]))
    assert header["version"] == (3 if has_macs else 2 if has_stuck else 1)


@pytest.mark.parametrize(
    "macs",
    [
        [[0], [5], [0], [0], [0], [0]],
        [[0], [0], [0], [3], [0], [0]],
        [[0], [0], [0], [0], [0], [2]],
        [[0, 0], [0, 0], [0, 0], [0, 0], [3, 3], [0, 1]],
        [[0, 0], [1, 0], [0, 0], [0, 0], [3, 3], [0, 1]],
        [[3], [0], [0], [0], [0], [0]],
        [[0], [0], [0], [0], [32], [0]],
        [[0], [0], [0], [0], [0]],
    ],
)
def test_stuck_macs_that_contradict_themselves_are_refused(tmp_path, macs):
    path = write_lot(with_stuck_macs(), tmp_path / "lot.npz")
    refused(rewritten(path, macs=np.array(macs, dtype="<i4")), "damaged")


def test_altered_stuck_bits_are_noticed_when_their_chip_is_asked_for(stuck_path):
    held = entries_of(stuck_path)["stuck"]
    held[-1] ^= 1
    lot = read_lot(rewritten(stuck_path, stuck=held))
    assert lot[0] == with_stuck_bits()[0]
    with pytest.raises(LotError, match="stuck bits of chip dead ✝ were altered"):
        _ = lot[2]


@pytest.mark.parametrize(
    "change",
    [
        {"contents": lambda old: {**old, "memory": None}},
        {"contents": lambda old: {**old, "memory": {"words": 0, "bits": 8}}},
        {"contents": lambda old: {**old, "memory": {"words": 90, "bits": 9}}},
        {"stuck": np.zeros(3, np.uint8)},
        {"stuck": np.zeros((2, 100), np.uint8)},
        {"stuck": np.zeros(500, np.int8)},
        {"stuck_spans": np.array([[0, 9], [9, 9], [9, 10**9]])},
        {"stuck_spans": np.array([[0, 9], [9, 9], [-9, 10]])},
        {"stuck_spans": np.array([[0, 9], [9, 8], [9, 10]])},
        {"stuck_spans": np.array([[0, 9], [9, 10]])},
        {"stuck_digests": np.zeros((3, 31), np.uint8)},
    ],
)
def test_stuck_bits_that_contradict_themselves_are_refused(stuck_path, change):
    refused(rewritten(stuck_path, **change), "damaged|no plain bytes")


def test_the_file_is_an_npz_with_a_readable_header_and_plain_bits(path):
    entries = entries_of(path)
    header = json.loads(entries["header"].tobytes())
    assert (header["format"], header["version"]) == ("chipmend lot", 1)
    first = np.unpackbits(entries["packed"][0])[:35].reshape(5, 7)
    assert first.tolist() == example()[0].faults.faulty_pes.astype(int).tolist()
    assert entries["dead_rows"].tolist() == [[2], [4], [6]]
    assert entries["dead_cols"].tolist() == [[2, 2], [0, 6]]


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    refused(tmp_path / "none.npz", "cannot read")
    refused(tmp_path, "cannot read")


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "a").touch()
    refused(tmp_path / "a", "empty")


@pytest.mark.parametrize("start", [b"chip,class,row\n", b"\x93NUMPY\x01\x00", b"\x80\x04N."])
def test_something_else_is_not_a_lot_file(tmp_path, start):
    (tmp_path / "a").write_bytes(start)
    refused(tmp_path / "a", "not a lot file")


def test_the_arrays_of_someone_else_are_not_a_lot_file(tmp_path):
    np.savez(tmp_path / "a.npz", weights=np.zeros(3))
    refused(tmp_path / "a.npz", "no header")


def test_another_format_is_named(path):
    refused(rewritten(path, header={"format": "chipmend bundle"}), "chipmend bundle")


def test_a_newer_version_says_so(path):
    refused(rewritten(path, header={"version": 4}), "lot format 4, this chipmend reads up to 3")


def test_an_altered_map_is_noticed_by_its_checksum(path):
    packed = entries_of(path)["packed"]
    packed[0, 0] ^= 1
    refused(rewritten(path, checksum=False, packed=packed), "altered")


def test_a_pickle_is_never_loaded(path):
    entries = {**entries_of(path), "packed": np.array([{"a": 1}], dtype=object)}
    np.savez(path, **entries)
    refused(path, "damaged")


def test_a_file_that_unpacks_to_more_than_itself_is_refused(path):
    entries = {**entries_of(path), "packed": np.zeros((10, 10**6), dtype=np.uint8)}
    np.savez_compressed(path, **entries)
    refused(path, "more than its own size")


def test_an_absurd_shape_is_refused_before_memory_is_filled(path):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "|u1", "fortran_order": False, "shape": (2**40, 2**22)}
    )
    entries = entries_of(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, entry in entries.items():
            with archive.open(f"{name}.npy", "w") as stream:
                if name == "packed":
                    stream.write(head.getvalue())
                else:
                    np.lib.format.write_array(stream, entry)
    refused(path, "damaged")


def first_chip(*, at=0, **change):
    def contents(old):
        for name, value in change.items():
            old["chips"][name][at] = value
        return old

    return contents


@pytest.mark.parametrize(
    "change",
    [
        {"contents": lambda old: {**old, "rows": 6}},
        {"contents": lambda old: {**old, "rows": -5, "cols": -7}},
        {"contents": lambda old: {**old, "rows": "5"}},
        {"contents": lambda old: {**old, "rows": 10**40}},
        {"contents": lambda old: {**old, "provenances": []}},
        {"contents": lambda old: {**old, "provenances": [1]}},
        {"contents": lambda old: {**old, "chips": {}}},
        {"contents": lambda old: [old]},
        {"contents": first_chip(id=7)},
        {"contents": first_chip(id="")},
        {"contents": first_chip(id="chip-0002")},
        {"contents": first_chip(version=0)},
        {"contents": first_chip(version="1")},
        {"contents": first_chip(provenance=9)},
        {"contents": first_chip(provenance=-1)},
        {"contents": first_chip(fatal=None)},
        {"contents": first_chip(at=1, version=0)},
        {"contents": first_chip(at=2, id="")},
        {"contents": first_chip(at=2, wafer="a\nb")},
        {"more": np.zeros(1)},
        {"dead_rows": np.array([[2], [5], [0]], dtype="<i4")},
        {"dead_rows": np.array([[2], [-1], [0]], dtype="<i4")},
        {"dead_cols": np.array([[3], [0]], dtype="<i4")},
        {"dead_cols": np.array([[1, 0], [0, 0]], dtype="<i4")},
        {"dead_cols": np.array([[0.5], [0.0]])},
        {"packed": np.zeros((3, 4), dtype=np.uint8)},
        {"packed": np.zeros((3, 5), dtype=np.int8)},
        {"packed": np.zeros(15, dtype=np.uint8)},
        {"header": {"version": None}},
        {"header": {"version": "1"}},
    ],
)
def test_contents_that_contradict_themselves_are_refused_whatever_the_checksum_says(path, change):
    rewritten(path, **change)
    with pytest.raises(LotError, match=re.escape(str(path))):
        read_lot(path)


@SHARED_FOLDER
@given(data=st.data())
def test_a_cut_file_is_refused(tmp_path, data):
    lot = data.draw(st.sampled_from([example(), with_stuck_bits(), with_all()]))
    whole = write_lot(lot, tmp_path / "lot.npz").read_bytes()
    cut = tmp_path / "cut.npz"
    cut.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(LotError):
        read_lot(cut)


@settings(SHARED_FOLDER, max_examples=400)
@given(data=st.data())
def test_flipped_bytes_are_refused_or_change_nothing(tmp_path, data):
    lot = data.draw(st.sampled_from([example(), with_stuck_bits(), with_all()]))
    content = bytearray(write_lot(lot, tmp_path / "lot.npz").read_bytes())
    places = st.integers(0, len(content) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=4, unique=True)):
        content[place] ^= data.draw(st.integers(1, 255))
    flipped = tmp_path / "flipped.npz"
    flipped.write_bytes(content)
    with contextlib.suppress(LotError):
        assert list(read_lot(flipped)) == list(lot)


@SHARED_FOLDER
@given(st.binary(max_size=300))
def test_noise_is_refused(tmp_path, noise):
    (tmp_path / "noise").write_bytes(b"PK\x03\x04" + noise)
    refused(tmp_path / "noise", "damaged")


def test_an_empty_slice_is_not_written(tmp_path):
    with pytest.raises(LotError, match="zero chips"):
        write_lot(example()[:0], tmp_path / "lot.npz")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path, monkeypatch):
    def broken(*_, **__):
        raise OSError(28, "No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr(np, "savez", broken)
    with pytest.raises(StoreError, match="No space left"):
        write_lot(example(), path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
