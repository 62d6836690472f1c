// The end of a column: sums are sign-extended from the width that the weights above them need. Of bits
// NARROWEST and above, a register says which count; the others repeat the bit below.
module column_end #(
    parameter BITS = 24,
    parameter NARROWEST = 12
) (
    input                       clock,
    input                       take,
    input      [BITS-1:NARROWEST] counting,
    input      [BITS-1:0]       sum_in,
    output     [BITS-1:0]       sum_out
);
    reg [BITS-1:NARROWEST] counts;
    always @(posedge clock) if (take) counts <= counting;
    assign sum_out[NARROWEST-1:0] = sum_in[NARROWEST-1:0];

    genvar at;
    generate
        for (at = NARROWEST; at < BITS; at = at + 1) begin : bits
            assign sum_out[at] = counts[at] ? sum_in[at] : sum_out[at-1];
        end
    endgenerate
endmodule
