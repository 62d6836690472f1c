"""What a protected PE masks, by simulation of its Verilog: every single fault, one after another.

A fault turns a net of a copy over in every cycle, before the clock's edge and behind it. The faulty
PE computes beside a sound one, with random operands; a fault is masked if no protected bit ever
differs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chipmend.errors import RtlError
from chipmend.protect.circuit.yosys import SOURCES
from chipmend.simulate.rtl import simulated

VECTORS = 50
"""Random operands for each fault."""


@dataclass(frozen=True, slots=True)
class ProtectedPe:
    """A PE with protected bits.

    Args:
        bits: Bits of its sums.
        first: The lowest protected bit.
        last: One above the highest; bits from there on are not protected.
        cone: Whether all is protected that those bits hang on, or adders and registers alone.
        weight_bits: Bits of a weight.
    """

    bits: int
    first: int
    last: int
    cone: bool = False
    weight_bits: int = 8

    @property
    def protected(self) -> list[str]:
        """Nets inside of the protected copies."""
        return list(self._in_cones() if self.cone else self._in_adders())

    @property
    def bare(self) -> list[str]:
        """Nets of unprotected bits that leave the PE."""
        if self.cone:
            return [f"whole_cones.computes.main.sum_out[{bit}]" for bit in range(self.first)]
        unprotected = [*range(self.first), *range(self.last, self.bits)]
        return [f"adders.adds.bits[{bit}].bare.one.sum" for bit in unprotected]

    def _in_adders(self) -> Iterator[str]:
        for bit in range(self.first, self.last):
            for copy in range(3):
                one = f"adders.adds.bits[{bit}].guarded.copies[{copy}].one"
                yield from (f"{one}.sum", f"{one}.carry_out")

    def _in_cones(self) -> Iterator[str]:
        for copy in ("main", "guarded.two", "guarded.three"):
            cone = f"whole_cones.computes.{copy}"
            yield from (f"{cone}.exact[{bit}]" for bit in range(self.weight_bits + 8))
            yield from (f"{cone}.carries[{bit + 1}]" for bit in range(self.bits - 1))
            yield from (f"{cone}.added[{bit}]" for bit in range(self.bits))
            yield from (f"{cone}.sum_out[{bit}]" for bit in range(self.first, self.bits))


def seen(pe: ProtectedPe, nets: Sequence[str], *, at: range, seed: int) -> list[str]:
    """Which faults of single nets show in a sum.

    Args:
        pe: The PE.
        nets: The nets, each of which is turned over by itself.
        at: The bits of the sum that are looked at.
        seed: Of the operands.

    Returns:
        Nets whose faults were seen at one of those bits.

    Raises:
        RtlError: Icarus Verilog is not installed, or does not take the sources.
    """
    found = [int(line) for line in simulated(_testbench(pe, nets, at, seed), SOURCES).split()]
    if len(found) != len(nets):
        raise RtlError(
            f"the simulation told of {len(found)} faults where {len(nets)} were wanted",
            hint="this is a mistake of chipmend's own: please report it",
        )
    return [net for net, differing in zip(nets, found, strict=True) if differing]


def _testbench(pe: ProtectedPe, nets: Sequence[str], at: range, seed: int) -> str:
    parameters = (
        f".WEIGHT_BITS({pe.weight_bits}), .BITS({pe.bits}), .FIRST({pe.first}), .LAST({pe.last}), "
        f".CONE({int(pe.cone)})"
    )
    compared = f"{pe.bits}'h{sum(1 << bit for bit in at):x}"
    faults = "\n".join(_fault(net, compared) for net in nets)
    return f"""
module testbench;
    reg clock = 0;
    reg signed [{pe.weight_bits - 1}:0] weight;
    reg signed [8:0] activation;
    reg [{pe.bits - 1}:0] sum;
    wire [{pe.bits - 1}:0] right, found;
    integer state = {seed % 2**31}, turn, differing;
    pe #({parameters}) sound (
        .clock(clock), .shift(1'b1), .take(1'b1), .weight_in(weight), .activation_in(activation),
        .sum_in(sum), .sum_out(right)
    );
    pe #({parameters}) faulty (
        .clock(clock), .shift(1'b1), .take(1'b1), .weight_in(weight), .activation_in(activation),
        .sum_in(sum), .sum_out(found)
    );
    initial begin
{faults}
        $finish;
    end
endmodule
"""


def _fault(net: str, compared: str) -> str:
    """Turn a net over: what is forced on it stays the same until it is forced anew."""
    turned = f"force faulty.{net} = ~sound.{net};"
    return f"""
        differing = 0;
        for (turn = 0; turn < {VECTORS}; turn = turn + 1) begin
            weight = $random(state); activation = $random(state); sum = $random(state);
            #1 {turned}
            #1 clock = 1;
            #1 {turned}
            #1 if (turn > 2 && ((right ^ found) & {compared}) !== 0) differing = differing + 1;
            clock = 0;
        end
        release faulty.{net};
        $display("%0d", differing);"""
