// All that bits FIRST and above of a sum hang on: the multiplier, and the adder with its carries; of
// registers those bits' alone.
(* keep_hierarchy *)
module cone #(
    parameter WEIGHT_BITS = 8,
    parameter BITS = 24,
    parameter FIRST = 0
) (
    input                           clock,
    input  signed [WEIGHT_BITS-1:0] weight,
    input  signed [8:0]             activation,
    input         [BITS-1:0]        sum_in,
    output reg    [BITS-1:FIRST]    sum_out
);
    wire signed [WEIGHT_BITS+7:0] exact = weight * activation;
    wire signed [BITS-1:0] product = exact;
    wire [BITS:0] carries;
    wire [BITS-1:0] added;
    assign carries[0] = 1'b0;

    genvar at;
    generate
        for (at = 0; at < BITS; at = at + 1) begin : bits
            wire differ = sum_in[at] ^ product[at];
            assign added[at] = differ ^ carries[at];
            assign carries[at+1] = (sum_in[at] & product[at]) | (carries[at] & differ);
        end
    endgenerate
    always @(posedge clock) sum_out <= added[BITS-1:FIRST];
endmodule

// Multiplier and adder whose bits FIRST and above are voted on by three cones.
module multiply_accumulate #(
    parameter WEIGHT_BITS = 8,
    parameter BITS = 24,
    parameter FIRST = 24
) (
    input                           clock,
    input  signed [WEIGHT_BITS-1:0] weight,
    input  signed [8:0]             activation,
    input         [BITS-1:0]        sum_in,
    output        [BITS-1:0]        sum_out
);
    wire [BITS-1:0] whole;
    cone #(.WEIGHT_BITS(WEIGHT_BITS), .BITS(BITS), .FIRST(0)) main (
        .clock(clock), .weight(weight), .activation(activation), .sum_in(sum_in), .sum_out(whole)
    );

    genvar at;
    generate
        if (FIRST < BITS) begin : guarded
            wire [BITS-1:FIRST] second, third;
            cone #(.WEIGHT_BITS(WEIGHT_BITS), .BITS(BITS), .FIRST(FIRST)) two (
                .clock(clock), .weight(weight), .activation(activation), .sum_in(sum_in),
                .sum_out(second)
            );
            cone #(.WEIGHT_BITS(WEIGHT_BITS), .BITS(BITS), .FIRST(FIRST)) three (
                .clock(clock), .weight(weight), .activation(activation), .sum_in(sum_in),
                .sum_out(third)
            );
            for (at = FIRST; at < BITS; at = at + 1) begin : bits
                voter votes (.copies({third[at], second[at], whole[at]}), .voted(sum_out[at]));
            end
            if (FIRST > 0) begin : low
                assign sum_out[FIRST-1:0] = whole[FIRST-1:0];
            end
        end else begin : bare
            assign sum_out = whole;
        end
    endgenerate
endmodule
