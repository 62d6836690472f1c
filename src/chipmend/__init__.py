"""chipmend: repair pretrained neural networks for accelerator chips with permanent faults."""

__version__ = "0.1.0"
