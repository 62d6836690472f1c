"""A network as integers: what an accelerator of int8 codes computes, to the last bit."""
