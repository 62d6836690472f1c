// What a processing element computes, with a port for every bit that may be stuck: the partial sum
// from above, plus weight times activation. The row keeps what it computes with and what it gives.
module mac #(
    parameter WEIGHT_BITS = 8,
    parameter SUM_BITS = 24,
    parameter SATURATE = 0,
    parameter PRODUCT_BITS = WEIGHT_BITS + 8
) (
    input                            bypass,
    input  signed [WEIGHT_BITS-1:0]  register,
    input  signed [8:0]              activation,
    input  signed [SUM_BITS-1:0]     sum_in,
    output signed [SUM_BITS-1:0]     sum_out,
    input         [WEIGHT_BITS-1:0]  weight_ones,
    input         [WEIGHT_BITS-1:0]  weight_zeros,
    input         [PRODUCT_BITS-1:0] product_ones,
    input         [PRODUCT_BITS-1:0] product_zeros,
    input         [SUM_BITS-1:0]     sum_ones,
    input         [SUM_BITS-1:0]     sum_zeros
);
    wire signed [WEIGHT_BITS-1:0] weight = (register | weight_ones) & ~weight_zeros;

    wire signed [WEIGHT_BITS+8:0] exact = weight * activation;
    wire signed [PRODUCT_BITS-1:0] product =
        (exact[PRODUCT_BITS-1:0] | product_ones) & ~product_zeros;

    wire signed [SUM_BITS-1:0] added;
    adder #(
        .A_BITS(SUM_BITS), .B_BITS(PRODUCT_BITS), .BITS(SUM_BITS), .SATURATE(SATURATE)
    ) adds (
        .a(sum_in), .b(product), .sum(added)
    );
    assign sum_out = bypass ? sum_in : (added | sum_ones) & ~sum_zeros;
endmodule
