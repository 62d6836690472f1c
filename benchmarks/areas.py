"""Make the table of areas anew from the Verilog: needs Yosys (``pip install 'chipmend[rtl]'``)."""

import json

from chipmend.protect.circuit.areas import PARTS, TABLE, fitted, sources_digest


def main() -> None:
    parts = {}
    for name in PARTS:
        fit = fitted(name)
        print(f"{name}: within {100 * fit.error:.2f} % at {fit.points} points", flush=True)
        parts[name] = {"factors": fit.factors, "error": fit.error, "points": fit.points}
    table = {"verilog": sources_digest(), "unit": "transistors", "parts": parts}
    TABLE.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
