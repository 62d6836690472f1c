"""The modules beside the PE, simulated: they do what the simulator takes them to do."""

import random

import pytest

from chipmend.protect.circuit.yosys import SOURCES
from chipmend.simulate.rtl import found_icarus, simulated

pytestmark = pytest.mark.skipif(not found_icarus(), reason="Icarus Verilog is not installed")


def displayed(declared, steps):
    """Every number that a testbench displays in hexadecimal."""
    body = "\n".join(steps)
    bench = f"module testbench;\n{declared}\ninitial begin\n{body}\n$finish;\nend\nendmodule\n"
    return [int(line, 16) for line in simulated(bench, SOURCES).split()]


def wrapped(number, bits):
    """Two's complement: the number that so many low bits of it stand for."""
    return (number + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


@pytest.mark.parametrize(("bits", "narrowest"), [(24, 12), (20, 15), (9, 8)])
def test_the_end_of_a_column_extends_signs_from_any_width(bits, narrowest):
    rng = random.Random(0)
    cases = [(w, rng.getrandbits(bits)) for w in range(narrowest, bits + 1) for _ in range(20)]
    declared = f"""
        reg clock = 0, take = 1;
        reg [{bits - 1}:{narrowest}] counting;
        reg [{bits - 1}:0] sum;
        wire [{bits - 1}:0] extended;
        column_end #(.BITS({bits}), .NARROWEST({narrowest})) end_of_column (
            .clock(clock), .take(take), .counting(counting), .sum_in(sum), .sum_out(extended)
        );"""
    steps = [
        f"counting = {(1 << width - narrowest) - 1}; sum = {value}; #1 clock = 1; #1 clock = 0; "
        '#1 $display("%h", extended);'
        for width, value in cases
    ]
    found = displayed(declared, steps)
    assert found == [wrapped(value, width) % (1 << bits) for width, value in cases]


def test_widths_stay_while_none_are_taken_over():
    declared = """
        reg clock = 0, take = 1;
        reg [9:4] counting;
        reg [9:0] sum = 10'h018;
        wire [9:0] extended;
        column_end #(.BITS(10), .NARROWEST(4)) end_of_column (
            .clock(clock), .take(take), .counting(counting), .sum_in(sum), .sum_out(extended)
        );"""
    clocked = '#1 clock = 1; #1 clock = 0; #1 $display("%h", extended);'
    steps = [f"counting = 1; {clocked}", f"take = 0; counting = 0; {clocked}"]
    assert displayed(declared, steps) == [0x3F8, 0x3F8]  # five bits count: 11000 is -8


ECC = """
    reg [63:0] word;
    reg [71:0] flips;
    wire [7:0] beside, unused;
    wire [63:0] corrected, nothing;
    wire wrong, never;
    ecc writes (
        .written(word), .beside(beside), .read(72'b0), .corrected(nothing), .wrong(never)
    );
    ecc reads (
        .written(64'b0), .beside(unused), .read({beside, word} ^ flips), .corrected(corrected),
        .wrong(wrong)
    );
    initial flips = 0;"""


def test_the_code_corrects_every_single_bit_of_a_word():
    rng = random.Random(1)
    words = [0, 2**64 - 1, *(rng.getrandbits(64) for _ in range(6))]
    steps = [
        f"word = 64'd{word}; flips = 72'd0; #1 $display(\"%h\\n%h\", corrected, wrong);\n"
        f'for (at = 0; at < 72; at = at + 1) begin flips = 72\'d1 << at; #1 $display("%h\\n%h", '
        "corrected, wrong); end"
        for word in words
    ]
    found = displayed(f"integer at; {ECC}", steps)
    assert found == [said for word in words for said in [word, 0] * 73]


def test_the_code_notices_every_pair_of_wrong_bits():
    steps = [
        "word = 64'h0123456789abcdef;",
        "for (at = 0; at < 72; at = at + 1) for (to = 0; to < at; to = to + 1) begin",
        "flips = (72'd1 << at) | (72'd1 << to); #1 $display(\"%h\", wrong); end",
    ]
    assert displayed(f"integer at, to; {ECC}", steps) == [1] * (72 * 71 // 2)


def test_parity_notices_one_wrong_bit_and_no_pair():
    declared = """
        reg [7:0] word;
        reg [8:0] flips;
        wire beside, unused, wrong, never;
        integer one, two;
        parity writes (.written(word), .beside(beside), .read(9'b0), .wrong(never));
        parity reads (
            .written(8'b0), .beside(unused), .read({beside, word} ^ flips), .wrong(wrong)
        );"""
    steps = [
        f"word = {word}; for (one = 0; one < 9; one = one + 1) for (two = 0; two <= one; "
        "two = two + 1) begin flips = (9'd1 << one) | (9'd1 << two); "
        '#1 $display("%h", wrong); end'
        for word in (0, 255, 90)
    ]
    single = [int(one == two) for one in range(9) for two in range(one + 1)]
    assert displayed(declared, steps) == single * 3


@pytest.mark.parametrize("cone", [0, 1])
def test_a_lane_sums_a_piece_up_and_takes_the_place_of_the_array_for_its_neuron(cone):
    """Sums go round a lane by itself: operands, then their product, are a cycle behind each."""
    rng = random.Random(2)
    bits, taps = 20, 12
    pieces = [
        [(rng.randrange(-128, 128), rng.randrange(-128, 256)) for _ in range(taps)]
        for _ in range(3)
    ]
    declared = f"""
        reg clock = 0, restart = 0, done = 0;
        reg [7:0] weight = 0;
        reg [8:0] activation = 0;
        reg [4:0] next = 0, written = 0;
        wire [{bits - 1}:0] into, out, kept;
        lane #(.BITS({bits}), .FIRST(12), .LAST({bits}), .CONE({cone})) one (
            .clock(clock), .weight_in(weight), .activation_in(activation), .sum_in(into),
            .sum_out(out)
        );
        dppu_end #(.BITS({bits}), .ADDRESS_BITS(5)) ends (
            .clock(clock), .restart(restart), .done(done), .next(next), .written(written),
            .sum_out(out), .sum_in(into), .of_array({bits}'d7), .kept(kept)
        );
        task tick; begin #1 clock = 1; #1 clock = 0; end endtask"""
    stream = [pair for piece in pieces for pair in piece] + [(0, 0)] * 4
    steps = []
    behind = 2  # registers in front of the multiplier: of the lane, and the PE's own of weights
    for at, (weight, _) in enumerate(stream):
        place = at - behind
        late = stream[at - 1][1] if at else 0  # activations have one register less
        steps.append(
            f"weight = {weight % 256}; activation = {late % 512}; "
            f"restart = {int(place % taps == 0)}; done = {int(place >= 0 and place % taps == 0)}; "
            f"next = {max(place, 0) // taps}; tick;"
        )
        if place > 0 and place % taps == 0:
            neuron = place // taps - 1
            steps.append(
                f'written = {neuron}; #1 $display("%h", kept); '
                f'written = {neuron + 9}; #1 $display("%h", kept);'
            )
    found = displayed(declared, steps)
    exact = [sum(w * a for w, a in piece) % (1 << bits) for piece in pieces]
    assert found == [number for total in exact for number in (total, 7)]
