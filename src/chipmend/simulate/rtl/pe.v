// One processing element of a weight-stationary array, with a port for every bit that may be stuck.
//
// Weights come down through shadow registers, which are taken to be healthy, and are taken over by
// the weight register all at once. Activations go right, partial sums go down, a cycle each.
module pe #(
    parameter WEIGHT_BITS = 8,
    parameter SUM_BITS = 24,
    parameter SATURATE = 0,
    parameter PRODUCT_BITS = WEIGHT_BITS + 8
) (
    input                                clock,
    input                                shift,
    input                                take,
    input                                bypass,
    input      signed [WEIGHT_BITS-1:0]  weight_in,
    output reg signed [WEIGHT_BITS-1:0]  shadow,
    input      signed [8:0]              activation_in,
    output reg signed [8:0]              activation_out,
    input      signed [SUM_BITS-1:0]     sum_in,
    output reg signed [SUM_BITS-1:0]     sum_out,
    input             [WEIGHT_BITS-1:0]  weight_ones,
    input             [WEIGHT_BITS-1:0]  weight_zeros,
    input             [PRODUCT_BITS-1:0] product_ones,
    input             [PRODUCT_BITS-1:0] product_zeros,
    input             [SUM_BITS-1:0]     sum_ones,
    input             [SUM_BITS-1:0]     sum_zeros
);
    reg signed [WEIGHT_BITS-1:0] held;
    wire signed [WEIGHT_BITS-1:0] weight = (held | weight_ones) & ~weight_zeros;

    wire signed [WEIGHT_BITS+8:0] exact = weight * activation_in;
    wire signed [PRODUCT_BITS-1:0] product =
        (exact[PRODUCT_BITS-1:0] | product_ones) & ~product_zeros;

    wire signed [SUM_BITS-1:0] added;
    adder #(
        .A_BITS(SUM_BITS), .B_BITS(PRODUCT_BITS), .BITS(SUM_BITS), .SATURATE(SATURATE)
    ) adds (
        .a(sum_in), .b(product), .sum(added)
    );
    wire signed [SUM_BITS-1:0] sum = (added | sum_ones) & ~sum_zeros;

    always @(posedge clock) begin
        if (shift) shadow <= weight_in;
        if (take) held <= shadow;
        activation_out <= activation_in;
        sum_out <= bypass ? sum_in : sum;
    end
endmodule
