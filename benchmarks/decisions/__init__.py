"""Parts of ``fleet_decisions.py``: a file for each thing that is decided."""
