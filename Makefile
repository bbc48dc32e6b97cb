# Two commands do all set-up on a fresh Debian 12 with python3.11, g++ and make: `make demo`, `make test`.
SHELL := /bin/bash
# the interpreter that .venv is made from
PYTHON3 ?= python3
# the interpreter that `make kernels` builds for
PYTHON ?= .venv/bin/python
# ON: -march=native. OFF where the nodes' processors differ
NATIVE ?= ON
BIN := .venv/bin
STAMP := .venv/.installed
KERNEL_SOURCES := CMakeLists.txt $(shell find kernels -type f)
SNAKEFILES := $(wildcard Snakefile rules/*.smk)
export OMP_NUM_THREADS ?= 1

.PHONY: help install kernels lint test test-slow slurm demo docs lock clean
help:  ## this list
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z%-]+):[^#]*## */  make \1\t/' | expand -t 18

install: $(STAMP)  ## make .venv with everything, built for this machine

.venv/bin/uv:
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON3) is too old: Python 3.11 or newer is needed (make PYTHON3=python3.11 install)"; exit 1; }
	@$(PYTHON3) -c 'import ensurepip' 2>/dev/null \
	  || { echo "$(PYTHON3) cannot make environments: apt-get install python3-venv python3-dev"; exit 1; }
	$(PYTHON3) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv

$(STAMP): requirements.lock pyproject.toml snakemake-executor-plugin-parsl/pyproject.toml $(KERNEL_SOURCES) | .venv/bin/uv
	@$(BIN)/python -c 'import sysconfig, pathlib, sys; sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' \
	  || { echo "Python.h is missing: apt-get install python3-dev"; exit 1; }
	@command -v $${CXX:-g++} > /dev/null || { echo "no C++ compiler: apt-get install g++"; exit 1; }
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-build-isolation --no-deps \
	  -Ccmake.define.XFELFLOW_NATIVE=$(strip $(NATIVE)) --editable .
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-build-isolation --no-deps \
	  --editable snakemake-executor-plugin-parsl
	@touch $@

kernels: export PATH := $(abspath $(dir $(PYTHON))):$(PATH)
kernels:  ## build xfel_apps/_kernels in place for $(PYTHON), only what changed
	@cmake -S . -B build/kernels -G Ninja -DCMAKE_BUILD_TYPE=Release --log-level=WARNING \
	  -DPython_EXECUTABLE=$$(command -v $(PYTHON)) -DXFELFLOW_NATIVE=$(strip $(NATIVE)) > /dev/null
	@cmake --build build/kernels --target _kernels
	@cmake --install build/kernels --component xfelflow --prefix . > /dev/null

lint: install  ## style, types, layers, rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
ifneq ($(SNAKEFILES),)
	$(BIN)/snakefmt --check $(SNAKEFILES)
	$(BIN)/snakemake --lint --configfile tests/workflow/lint.yaml
endif

test: lint  ## lint, then every test but the slow proofs
	$(BIN)/python -m pytest -n 2

test-slow: install  ## the slow proofs: faults, preemption, whole trials on a Slurm cluster
	CI=true $(BIN)/python -m pytest -n 0 -m slow

slurm: install  ## as root: a Slurm cluster of pretend nodes, until Ctrl-C
	$(BIN)/python -m tests.slurm

demo: install  ## simulate 200 shots, run the whole workflow, compare with the truth
	$(BIN)/xfelflow demo

bench-%: install  ## run benchmarks/NAME.py
	$(BIN)/python -m benchmarks.$(subst -,_,$*)

docs: install  ## write the reference pages that are made from the code
	$(BIN)/python -m docs.generate

lock: .venv/bin/uv  ## choose the versions again
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra build --extra dev \
	  --no-header --no-annotate pyproject.toml --output-file requirements.lock

clean:  ## remove what was built, .venv too
	rm -rf .venv build dist xfel_apps/_kernels*.so
