// A weight-stationary systolic array: a row on top of an array with one row less. Of every bundle of
// wires, PE (row, column) has slice number row * COLS + column; activations and sums come in skewed, a
// cycle later for every row and every column.
module array #(
    parameter ROWS = 4,
    parameter COLS = 4,
    parameter WEIGHT_BITS = 8,
    parameter SUM_BITS = 24,
    parameter SATURATE = 0,
    parameter PRODUCT_BITS = WEIGHT_BITS + 8,
    parameter PES = ROWS * COLS
) (
    input                         clock,
    input                         shift,
    input                         take,
    input  [COLS*WEIGHT_BITS-1:0] weights,
    input  [ROWS*9-1:0]           activations,
    input  [COLS*SUM_BITS-1:0]    sums_in,
    output [COLS*SUM_BITS-1:0]    sums_out,
    input  [PES-1:0]              bypass,
    input  [PES*WEIGHT_BITS-1:0]  weight_ones,
    input  [PES*WEIGHT_BITS-1:0]  weight_zeros,
    input  [PES*PRODUCT_BITS-1:0] product_ones,
    input  [PES*PRODUCT_BITS-1:0] product_zeros,
    input  [PES*SUM_BITS-1:0]     sum_ones,
    input  [PES*SUM_BITS-1:0]     sum_zeros
);
    wire [COLS*WEIGHT_BITS-1:0] weights_below;
    wire [COLS*SUM_BITS-1:0] sums_below;

    row #(
        .COLS(COLS), .WEIGHT_BITS(WEIGHT_BITS), .SUM_BITS(SUM_BITS), .SATURATE(SATURATE)
    ) top (
        .clock(clock),
        .shift(shift),
        .take(take),
        .weights_in(weights),
        .weights_out(weights_below),
        .activation(activations[8:0]),
        .sums_in(sums_in),
        .sums_out(sums_below),
        .bypass(bypass[COLS-1:0]),
        .weight_ones(weight_ones[COLS*WEIGHT_BITS-1:0]),
        .weight_zeros(weight_zeros[COLS*WEIGHT_BITS-1:0]),
        .product_ones(product_ones[COLS*PRODUCT_BITS-1:0]),
        .product_zeros(product_zeros[COLS*PRODUCT_BITS-1:0]),
        .sum_ones(sum_ones[COLS*SUM_BITS-1:0]),
        .sum_zeros(sum_zeros[COLS*SUM_BITS-1:0])
    );

    generate
        if (ROWS == 1) begin : bottom
            assign sums_out = sums_below;
        end else begin : rest
            array #(
                .ROWS(ROWS - 1), .COLS(COLS), .WEIGHT_BITS(WEIGHT_BITS), .SUM_BITS(SUM_BITS),
                .SATURATE(SATURATE)
            ) below (
                .clock(clock),
                .shift(shift),
                .take(take),
                .weights(weights_below),
                .activations(activations[ROWS*9-1:9]),
                .sums_in(sums_below),
                .sums_out(sums_out),
                .bypass(bypass[PES-1:COLS]),
                .weight_ones(weight_ones[PES*WEIGHT_BITS-1:COLS*WEIGHT_BITS]),
                .weight_zeros(weight_zeros[PES*WEIGHT_BITS-1:COLS*WEIGHT_BITS]),
                .product_ones(product_ones[PES*PRODUCT_BITS-1:COLS*PRODUCT_BITS]),
                .product_zeros(product_zeros[PES*PRODUCT_BITS-1:COLS*PRODUCT_BITS]),
                .sum_ones(sum_ones[PES*SUM_BITS-1:COLS*SUM_BITS]),
                .sum_zeros(sum_zeros[PES*SUM_BITS-1:COLS*SUM_BITS])
            );
        end
    endgenerate
endmodule
