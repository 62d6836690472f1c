// A row of processing elements. Of every bundle of wires, PE number col has slice number col.
//
// Weights come down through shadow registers, which are taken to be healthy, and are taken over by
// the weight registers all at once. Activations go right, partial sums go down, a cycle each.
module row #(
    parameter COLS = 4,
    parameter WEIGHT_BITS = 8,
    parameter SUM_BITS = 24,
    parameter SATURATE = 0,
    parameter PRODUCT_BITS = WEIGHT_BITS + 8
) (
    input                              clock,
    input                              shift,
    input                              take,
    input      [COLS*WEIGHT_BITS-1:0]  weights_in,
    output reg [COLS*WEIGHT_BITS-1:0]  weights_out,
    input      [8:0]                   activation,
    input      [COLS*SUM_BITS-1:0]     sums_in,
    output reg [COLS*SUM_BITS-1:0]     sums_out,
    input      [COLS-1:0]              bypass,
    input      [COLS*WEIGHT_BITS-1:0]  weight_ones,
    input      [COLS*WEIGHT_BITS-1:0]  weight_zeros,
    input      [COLS*PRODUCT_BITS-1:0] product_ones,
    input      [COLS*PRODUCT_BITS-1:0] product_zeros,
    input      [COLS*SUM_BITS-1:0]     sum_ones,
    input      [COLS*SUM_BITS-1:0]     sum_zeros
);
    reg  [COLS*WEIGHT_BITS-1:0] registers;
    reg  [COLS*9-1:0] passed;  // what went right, a cycle ago
    wire [(COLS+1)*9-1:0] activations = {passed, activation};
    wire [COLS*SUM_BITS-1:0] sums;

    always @(posedge clock) begin
        if (shift) weights_out <= weights_in;
        if (take) registers <= weights_out;
        passed <= activations[COLS*9-1:0];
        sums_out <= sums;
    end

    genvar col;
    generate
        for (col = 0; col < COLS; col = col + 1) begin : elements
            mac #(
                .WEIGHT_BITS(WEIGHT_BITS), .SUM_BITS(SUM_BITS), .SATURATE(SATURATE)
            ) element (
                .bypass(bypass[col]),
                .register(registers[col*WEIGHT_BITS+:WEIGHT_BITS]),
                .activation(activations[col*9+:9]),
                .sum_in(sums_in[col*SUM_BITS+:SUM_BITS]),
                .sum_out(sums[col*SUM_BITS+:SUM_BITS]),
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
