// One bit of the accumulate step: a full adder, and the register of its sum.
(* keep_hierarchy *)
module bit_cell (
    input      clock,
    input      a,
    input      b,
    input      carry_in,
    output     carry_out,
    output reg sum
);
    assign carry_out = (a & b) | (carry_in & (a ^ b));
    always @(posedge clock) sum <= a ^ b ^ carry_in;
endmodule

// What two of three say.
(* keep_hierarchy *)
module voter (
    input  [2:0] copies,
    output       voted
);
    assign voted = (copies[0] & copies[1]) | (copies[0] & copies[2]) | (copies[1] & copies[2]);
endmodule

// The accumulate step: the sum from above plus a product, a cycle later. Bits FIRST to LAST - 1 have
// three adders and registers and a voter each, and so has the carry that leaves the last of them. The
// structure is the same for any number of protected bits.
module accumulate #(
    parameter BITS = 24,
    parameter FIRST = 24,
    parameter LAST = 24
) (
    input             clock,
    input  [BITS-1:0] sum_in,
    input  [BITS-1:0] product,
    output [BITS-1:0] sum_out
);
    wire [3*BITS+2:0] carries;
    assign carries[2:0] = 3'b000;

    genvar at, copy;
    generate
        for (at = 0; at < BITS; at = at + 1) begin : bits
            if (at >= FIRST && at < LAST) begin : guarded
                wire [2:0] sums, leaving;
                for (copy = 0; copy < 3; copy = copy + 1) begin : copies
                    bit_cell one (
                        .clock(clock), .a(sum_in[at]), .b(product[at]),
                        .carry_in(carries[3*at+copy]), .carry_out(leaving[copy]), .sum(sums[copy])
                    );
                end
                voter votes (.copies(sums), .voted(sum_out[at]));
                if (at == LAST - 1 && LAST < BITS) begin : out
                    wire voted;
                    voter carry_votes (.copies(leaving), .voted(voted));
                    assign carries[3*at+5:3*at+3] = {3{voted}};
                end else begin : on
                    assign carries[3*at+5:3*at+3] = leaving;
                end
            end else begin : bare
                wire leaving;
                bit_cell one (
                    .clock(clock), .a(sum_in[at]), .b(product[at]),
                    .carry_in(carries[3*at]), .carry_out(leaving), .sum(sum_out[at])
                );
                assign carries[3*at+5:3*at+3] = {3{leaving}};
            end
        end
    endgenerate
endmodule
