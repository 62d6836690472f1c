// A processing element. Weights come down through shadow registers and are taken over all at once;
// activations go right, sums go down, a cycle each. Of sums, bits FIRST to LAST - 1 are protected: their
// adders and registers, or, if CONE is set, all that bits FIRST and above hang on.
module pe #(
    parameter WEIGHT_BITS = 8,
    parameter BITS = 24,
    parameter FIRST = 24,
    parameter LAST = 24,
    parameter CONE = 0
) (
    input                                clock,
    input                                shift,
    input                                take,
    input      signed [WEIGHT_BITS-1:0]  weight_in,
    output reg signed [WEIGHT_BITS-1:0]  weight_out,
    input      signed [8:0]              activation_in,
    output reg signed [8:0]              activation_out,
    input             [BITS-1:0]         sum_in,
    output            [BITS-1:0]         sum_out
);
    reg signed [WEIGHT_BITS-1:0] weight;
    always @(posedge clock) begin
        if (shift) weight_out <= weight_in;
        if (take) weight <= weight_out;
        activation_out <= activation_in;
    end

    generate
        if (CONE) begin : whole_cones
            multiply_accumulate #(.WEIGHT_BITS(WEIGHT_BITS), .BITS(BITS), .FIRST(FIRST)) computes (
                .clock(clock), .weight(weight), .activation(activation_in),
                .sum_in(sum_in), .sum_out(sum_out)
            );
        end else begin : adders
            wire [BITS-1:0] product;
            multiply #(.WEIGHT_BITS(WEIGHT_BITS), .BITS(BITS)) multiplies (
                .weight(weight), .activation(activation_in), .product(product)
            );
            accumulate #(.BITS(BITS), .FIRST(FIRST), .LAST(LAST)) adds (
                .clock(clock), .sum_in(sum_in), .product(product), .sum_out(sum_out)
            );
        end
    endgenerate
endmodule
