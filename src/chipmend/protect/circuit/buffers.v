// Parity over a byte: what is written beside it, and whether what is read is sound.
module parity (
    input  [7:0] written,
    output       beside,
    input  [8:0] read,
    output       wrong
);
    assign beside = ^written;
    assign wrong = ^read;
endmodule

// A code that corrects one bit of 64 and detects two (Hsiao's kind: 8 more bits).
module ecc (
    input  [63:0] written,
    output [7:0]  beside,
    input  [71:0] read,
    output [63:0] corrected,
    output        wrong
);
    // For each bit which check bits it goes into: bytes with three ones, then some with five.
    localparam [511:0] COLUMNS = {
        128'h574f3e3d3b372f1fe0d0c8c4c2c1b0a8,
        128'ha4a2a1989492918c8a89868583706864,
        128'h6261585452514c4a4946454338343231,
        128'h2c2a292625231c1a191615130e0d0b07
    };

    wire [7:0] syndrome;
    wire [63:0] hit;
    genvar at, check;
    generate
        for (check = 0; check < 8; check = check + 1) begin : checks
            wire [63:0] taken;
            for (at = 0; at < 64; at = at + 1) begin : data
                assign taken[at] = COLUMNS[8*at+check];
            end
            assign beside[check] = ^(written & taken);
            assign syndrome[check] = ^(read[63:0] & taken) ^ read[64+check];
        end
        for (at = 0; at < 64; at = at + 1) begin : corrections
            assign hit[at] = syndrome == COLUMNS[8*at+7:8*at];
        end
    endgenerate
    assign corrected = read[63:0] ^ hit;
    assign wrong = |syndrome & ~|hit & ~(^syndrome);
endmodule
