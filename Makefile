# 'make demo' and 'make test' set up all that they need in .venv.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint unit icarus clean

demo: $(READY)
	$(BIN)/chipmend demo

test: lint unit

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

unit: $(READY) icarus
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -rs -n 2 --dist worksteal

# The simulator is compared with Verilog where Icarus Verilog is, or can be installed.
icarus:
	@command -v iverilog > /dev/null || \
	(apt-get update -qq && apt-get install -qq -y --no-install-recommends iverilog) > /dev/null 2>&1 || \
	echo "*** Icarus Verilog is missing and could not be installed: comparisons with Verilog are SKIPPED ***"

# torch goes first, so that nothing pulls another build of it in.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt torch
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
