// A lane of the dot-product unit: a PE whose operands are new in every cycle, with a register in front
// for each. What a PE keeps weights in while others are loaded is that register for weights.
module lane #(
    parameter WEIGHT_BITS = 8,
    parameter BITS = 24,
    parameter FIRST = 24,
    parameter LAST = 24,
    parameter CONE = 0
) (
    input                            clock,
    input  signed [WEIGHT_BITS-1:0]  weight_in,
    input  signed [8:0]              activation_in,
    input         [BITS-1:0]         sum_in,
    output        [BITS-1:0]         sum_out
);
    reg signed [8:0] activation;
    always @(posedge clock) activation <= activation_in;
    pe #(
        .WEIGHT_BITS(WEIGHT_BITS), .BITS(BITS), .FIRST(FIRST), .LAST(LAST), .CONE(CONE)
    ) element (
        .clock(clock), .shift(1'b1), .take(1'b1), .weight_in(weight_in), .weight_out(),
        .activation_in(activation), .activation_out(), .sum_in(sum_in), .sum_out(sum_out)
    );
endmodule

// What a column of lanes has beside them: sums go round from the last lane to the first until a piece is
// done; whose sum it is stands in one of two registers, and takes the place of what the array computed.
module dppu_end #(
    parameter BITS = 24,
    parameter ADDRESS_BITS = 24
) (
    input                         clock,
    input                         restart,
    input                         done,
    input      [ADDRESS_BITS-1:0] next,
    input      [ADDRESS_BITS-1:0] written,
    input      [BITS-1:0]         sum_out,
    output     [BITS-1:0]         sum_in,
    input      [BITS-1:0]         of_array,
    output     [BITS-1:0]         kept
);
    reg [ADDRESS_BITS-1:0] queued, current;
    reg [BITS-1:0] result;
    always @(posedge clock) begin
        if (done) begin
            queued <= next;
            current <= queued;
            result <= sum_out;
        end
    end
    assign sum_in = restart ? {BITS{1'b0}} : sum_out;
    assign kept = written == current ? result : of_array;
endmodule
