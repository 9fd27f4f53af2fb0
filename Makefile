# Two commands: `make demo` runs the embedded study, `make test` runs the tests. Both set up .venv first.
PYTHON ?= python3
# nproc would take OMP_NUM_THREADS for the number of cores.
CORES ?= $(shell env -u OMP_NUM_THREADS nproc)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

# Jobs call `python`.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-layouts test-slurm test-faults lint lint-types lint-style bench clean

help:  ## show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## create .venv with the exact versions of envs/constraints.txt

# Byte code is compiled at once: every job pays for imports.
$(STAMP): pyproject.toml envs/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dynalign needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --compile -c envs/constraints.txt -e '.[dev]'
	$(BIN)/python -m compileall -qq $(VENV)/lib || true
	@touch $@

demo: $(STAMP)  ## run the embedded study, offline, into results/demo
	$(BIN)/snakemake --cores $(CORES) --configfile config/demo.yaml --quiet rules --rerun-incomplete
	$(BIN)/snakemake --cores 1 --configfile config/demo.yaml --report results/demo/report.zip
	@echo "The embedded study stands in results/demo: figures/, tables/, maps/, report.zip; open results/demo/index.html in a browser"

# Each process with one thread: they share the cores.
test: $(STAMP) lint  ## run all tests
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n $(CORES)

test-layouts: $(STAMP)  ## run six data sets in six layouts, which must have the same scores (4 minutes)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest tests/layouts

test-slurm: $(STAMP)  ## test the cluster profiles on a SLURM that is brought up here (root, Debian)
	$(BIN)/python -m pytest tests/slurm

test-faults: $(STAMP)  ## kill the workflow at 25 random moments instead of 5, and the other faults
	FAULTS=25 $(BIN)/python -m pytest tests/workflow/test_faults.py tests/unit/test_damage.py

# Types and Snakemake's lint take the longest: at the same time.
lint: $(STAMP)  ## check style, imports and types
	@$(MAKE) --no-print-directory -j2 lint-types lint-style

lint-types:
	$(BIN)/mypy

lint-style:
	@# Rules share one environment (envs/README.md); of what else Snakemake's lint finds, nothing is allowed.
	! $(BIN)/snakemake --lint --configfile config/demo.yaml 2>&1 | grep -E '^ +\* |rror' | grep -v 'Specify a conda environment'
	$(BIN)/ruff check workflow tests
	$(BIN)/ruff format --check workflow tests
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/lint-imports --no-logo

bench: $(STAMP)  ## time the workflow against other tools (minutes each)
	set -e; for benchmark in tests/benchmarks/*.py; do echo "$$benchmark"; $(BIN)/python $$benchmark; done

clean:  ## remove the embedded study's results
	rm -rf results/demo
