// A row of processing elements: activations go right, weights and sums pass through from the row
// above to the row below. Of every bundle of wires, PE number col has slice number col.
module row #(
    parameter COLS = 4,
    parameter WEIGHT_BITS = 8,
    parameter SUM_BITS = 24,
    parameter SATURATE = 0,
    parameter PRODUCT_BITS = WEIGHT_BITS + 8
) (
    input                          clock,
    input                          shift,
    input                          take,
    input  [COLS*WEIGHT_BITS-1:0]  weights_in,
    output [COLS*WEIGHT_BITS-1:0]  weights_out,
    input  [8:0]                   activation,
    input  [COLS*SUM_BITS-1:0]     sums_in,
    output [COLS*SUM_BITS-1:0]     sums_out,
    input  [COLS-1:0]              bypass,
    input  [COLS*WEIGHT_BITS-1:0]  weight_ones,
    input  [COLS*WEIGHT_BITS-1:0]  weight_zeros,
    input  [COLS*PRODUCT_BITS-1:0] product_ones,
    input  [COLS*PRODUCT_BITS-1:0] product_zeros,
    input  [COLS*SUM_BITS-1:0]     sum_ones,
    input  [COLS*SUM_BITS-1:0]     sum_zeros
);
    wire [(COLS+1)*9-1:0] right;
    assign right[8:0] = activation;

    genvar col;
    generate
        for (col = 0; col < COLS; col = col + 1) begin : elements
            pe #(
                .WEIGHT_BITS(WEIGHT_BITS), .SUM_BITS(SUM_BITS), .SATURATE(SATURATE)
            ) element (
                .clock(clock),
                .shift(shift),
                .take(take),
                .bypass(bypass[col]),
                .weight_in(weights_in[col*WEIGHT_BITS+:WEIGHT_BITS]),
                .shadow(weights_out[col*WEIGHT_BITS+:WEIGHT_BITS]),
                .activation_in(right[col*9+:9]),
                .activation_out(right[(col+1)*9+:9]),
                .sum_in(sums_in[col*SUM_BITS+:SUM_BITS]),
                .sum_out(sums_out[col*SUM_BITS+:SUM_BITS]),
                .weight_ones(weight_ones[col*WEIGHT_BITS+:WEIGHT_BITS]),
                .weight_zeros(weight_zeros[col*WEIGHT_BITS+:WEIGHT_BITS]),
                .product_ones(product_ones[col*PRODUCT_BITS+:PRODUCT_BITS]),
                .product_zeros(product_zeros[col*PRODUCT_BITS+:PRODUCT_BITS]),
                .sum_ones(sum_ones[col*SUM_BITS+:SUM_BITS]),
                .sum_zeros(sum_zeros[col*SUM_BITS+:SUM_BITS])
            );
        end
    endgenerate
endmodule
