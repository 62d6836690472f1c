// Runs jobs from a file: each some passes of one column of tiles, with the faults of one chip.
//
// The file holds hexadecimal numbers. A job is: samples, passes; for every PE, row by row, whether it
// is bypassed and its six patterns of stuck bits; for every pass the weights of all PEs, then the
// activations, sample by sample. For each job the sums are written, sample by sample.
module testbench;
    parameter ROWS = 4;
    parameter COLS = 4;
    parameter WEIGHT_BITS = 8;
    parameter SUM_BITS = 24;
    parameter OUTSIDE_BITS = 32;
    parameter SATURATE = 0;
    parameter REENTRY = 0;
    parameter MOST_SAMPLES = 4096;
    localparam PES = ROWS * COLS;
    localparam PRODUCT_BITS = WEIGHT_BITS + 8;

    reg clock = 0, shift = 0, take = 0;
    reg [COLS*WEIGHT_BITS-1:0] weights = 0, next_weights;
    reg [ROWS*9-1:0] activations = 0, next_activations;
    reg [COLS*SUM_BITS-1:0] sums_in = 0, next_sums;
    wire [COLS*SUM_BITS-1:0] sums_out;
    reg [PES-1:0] bypass;
    reg [PES*WEIGHT_BITS-1:0] weight_ones, weight_zeros;
    reg [PES*PRODUCT_BITS-1:0] product_ones, product_zeros;
    reg [PES*SUM_BITS-1:0] sum_ones, sum_zeros;

    array #(
        .ROWS(ROWS), .COLS(COLS), .WEIGHT_BITS(WEIGHT_BITS), .SUM_BITS(SUM_BITS),
        .SATURATE(SATURATE)
    ) dut (
        .clock(clock), .shift(shift), .take(take),
        .weights(weights), .activations(activations), .sums_in(sums_in), .sums_out(sums_out),
        .bypass(bypass),
        .weight_ones(weight_ones), .weight_zeros(weight_zeros),
        .product_ones(product_ones), .product_zeros(product_zeros),
        .sum_ones(sum_ones), .sum_zeros(sum_zeros)
    );

    // what is outside of the array: for each sample and column the sum over the passes so far
    reg signed [OUTSIDE_BITS-1:0] outside[0:MOST_SAMPLES*COLS-1];
    reg [SUM_BITS-1:0] leaving[0:MOST_SAMPLES*COLS-1];
    reg signed [OUTSIDE_BITS-1:0] so_far;
    reg signed [SUM_BITS-1:0] from_pass;
    wire signed [OUTSIDE_BITS-1:0] together;
    adder #(
        .A_BITS(OUTSIDE_BITS), .B_BITS(SUM_BITS), .BITS(OUTSIDE_BITS), .SATURATE(SATURATE)
    ) adds (
        .a(so_far), .b(from_pass), .sum(together)
    );

    reg [WEIGHT_BITS-1:0] tile[0:PES-1];
    reg [8:0] inputs[0:MOST_SAMPLES*ROWS-1];
    reg [8*1024-1:0] from, to;
    integer source, sink, got, samples, passes, pass, pe, row, col, cycle, sample;
    reg [63:0] number;

    task read;
        begin
            got = $fscanf(source, "%h", number);
            if (got != 1) begin
                $display("the jobs break off");
                $finish;
            end
        end
    endtask

    task tick;
        begin
            #1 clock = 1;
            #1 clock = 0;
        end
    endtask

    task read_faults;
        for (pe = 0; pe < PES; pe = pe + 1) begin
            read; bypass[pe] = number[0];
            read; weight_ones[pe*WEIGHT_BITS+:WEIGHT_BITS] = number[WEIGHT_BITS-1:0];
            read; weight_zeros[pe*WEIGHT_BITS+:WEIGHT_BITS] = number[WEIGHT_BITS-1:0];
            read; product_ones[pe*PRODUCT_BITS+:PRODUCT_BITS] = number[PRODUCT_BITS-1:0];
            read; product_zeros[pe*PRODUCT_BITS+:PRODUCT_BITS] = number[PRODUCT_BITS-1:0];
            read; sum_ones[pe*SUM_BITS+:SUM_BITS] = number[SUM_BITS-1:0];
            read; sum_zeros[pe*SUM_BITS+:SUM_BITS] = number[SUM_BITS-1:0];
        end
    endtask

    task load_weights;
        begin
            for (pe = 0; pe < PES; pe = pe + 1) begin
                read; tile[pe] = number[WEIGHT_BITS-1:0];
            end
            shift = 1;
            for (row = ROWS - 1; row >= 0; row = row - 1) begin  // the lowest row goes in first
                for (col = 0; col < COLS; col = col + 1)
                    next_weights[col*WEIGHT_BITS+:WEIGHT_BITS] = tile[row*COLS+col];
                weights = next_weights;
                tick;
            end
            shift = 0;
            take = 1;
            tick;
            take = 0;
        end
    endtask

    task stream;
        begin
            for (pe = 0; pe < samples * ROWS; pe = pe + 1) begin
                read; inputs[pe] = number[8:0];
            end
            for (cycle = 0; cycle < samples + ROWS + COLS - 2; cycle = cycle + 1) begin
                for (row = 0; row < ROWS; row = row + 1) begin
                    sample = cycle - row;
                    next_activations[row*9+:9] =
                        sample >= 0 && sample < samples ? inputs[sample*ROWS+row] : 9'd0;
                end
                for (col = 0; col < COLS; col = col + 1) begin
                    sample = cycle - col;
                    next_sums[col*SUM_BITS+:SUM_BITS] =
                        REENTRY && pass > 0 && sample >= 0 && sample < samples
                        ? leaving[sample*COLS+col] : {SUM_BITS{1'b0}};
                end
                activations = next_activations;
                sums_in = next_sums;
                tick;
                for (col = 0; col < COLS; col = col + 1) begin
                    sample = cycle - (ROWS - 1) - col;
                    if (sample >= 0 && sample < samples)
                        leaving[sample*COLS+col] = sums_out[col*SUM_BITS+:SUM_BITS];
                end
            end
            for (pe = 0; pe < samples * COLS; pe = pe + 1) begin
                so_far = pass > 0 ? outside[pe] : {OUTSIDE_BITS{1'b0}};
                from_pass = leaving[pe];
                #1 outside[pe] = together;
            end
        end
    endtask

    initial begin
        if (!$value$plusargs("jobs=%s", from) || !$value$plusargs("sums=%s", to)) begin
            $display("give +jobs=FILE and +sums=FILE");
            $finish;
        end
        source = $fopen(from, "r");
        sink = $fopen(to, "w");
        got = $fscanf(source, "%h", number);
        while (got == 1) begin
            samples = number;
            read; passes = number;
            read_faults;
            for (pass = 0; pass < passes; pass = pass + 1) begin
                load_weights;
                stream;
            end
            for (pe = 0; pe < samples * COLS; pe = pe + 1)
                if (REENTRY) $fdisplay(sink, "%0d", $signed(leaving[pe]));
                else $fdisplay(sink, "%0d", outside[pe]);
            got = $fscanf(source, "%h", number);
        end
        $fclose(sink);
        $finish;
    end
endmodule
