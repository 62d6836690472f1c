// Weight times activation, as wide as the sums.
(* keep_hierarchy *)
module multiply #(
    parameter WEIGHT_BITS = 8,
    parameter BITS = 24
) (
    input  signed [WEIGHT_BITS-1:0] weight,
    input  signed [8:0]             activation,
    output signed [BITS-1:0]        product
);
    wire signed [WEIGHT_BITS+7:0] exact = weight * activation;
    assign product = exact;
endmodule
