"""Readers of fault files in formats that others write, one file per format."""

from chipmend.faults.readers.fault_csv import read_csv, write_csv

__all__ = ["read_csv", "write_csv"]
