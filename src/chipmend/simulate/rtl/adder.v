// A signed adder whose result has fewer bits than the sum may need: it wraps around or saturates.
module adder #(
    parameter A_BITS = 24,
    parameter B_BITS = 16,
    parameter BITS = 24,
    parameter SATURATE = 0
) (
    input  signed [A_BITS-1:0] a,
    input  signed [B_BITS-1:0] b,
    output signed [BITS-1:0]   sum
);
    localparam WIDEST = A_BITS > B_BITS ? A_BITS : B_BITS;
    localparam WIDE = (WIDEST > BITS ? WIDEST : BITS) + 1;

    wire signed [WIDE-1:0] exact = a + b;
    wire signed [WIDE-1:0] most = {{(WIDE - BITS + 1) {1'b0}}, {(BITS - 1) {1'b1}}};
    wire signed [WIDE-1:0] least = ~most;

    wire signed [WIDE-1:0] kept =
        !SATURATE ? exact : exact > most ? most : exact < least ? least : exact;
    assign sum = kept[BITS-1:0];
endmodule
