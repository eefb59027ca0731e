# Targets for people and for CI. Each makes .venv from constraints.txt when it is missing or stale.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
LOWEST := $(VENV)-lowest
STAMP := $(VENV)/.installed
PRESET ?= cpu
WORKERS ?= 2
# Durable writes wait for a disk: tests write to memory where there is room.
SCRATCH := $(shell df --output=avail /dev/shm 2>/dev/null | awk 'NR == 2 && $$1 > 4e6 {print "/dev/shm"}')

export HF_HUB_OFFLINE := 1
export TRANSFORMERS_OFFLINE := 1

.PHONY: demo evaluate test test-lowest docs screenshots lint format bench bench-engine bench-gpu bench-registry train-testbed clean
.DEFAULT_GOAL := test

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,testbed,postgres,docs,serve,console]'
	touch $@

$(LOWEST)/.installed: pyproject.toml .ci/lowest.txt
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --constraint .ci/lowest.txt --editable '.[postgres]' \
	  accelerate hypothesis peft pytest pytest-xdist
	touch $@

demo: $(STAMP) ## show it: a banned concept vanishes, the rest stays; writes demo/sheet.png
	$(BIN)/uvr-registry demo --out demo

demo/demo.uvr: $(STAMP)
	$(BIN)/uvr-registry demo --out demo

evaluate: demo/demo.uvr ## the lab on the testbed, small; writes evaluation/report.html, goes on where it stopped
	$(BIN)/uvr-registry evaluate testbed-quick --bundle demo/demo.uvr --out evaluation $(ARGS)

# Tests that repeat something do so a tenth as often as with UVR_TEST_FULL=1, which CI sets. They
# use PostgreSQL too where UVR_TEST_POSTGRES_URL names a database of a role that may create others.
# ARGS chooses tests; WORKERS=0 runs them in one process, as a debugger needs.
test: $(STAMP) ## prove it in two minutes
	$(if $(SCRATCH),TMPDIR=$(SCRATCH)) OMP_NUM_THREADS=1 \
	  $(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

# Warnings of old releases are theirs; compiling takes long and depends on torch alone; what checks
# a bill of materials is a library of the tests' own.
test-lowest: $(LOWEST)/.installed ## prove the engine and the index with the lowest versions allowed
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n $(WORKERS) -W default -k "not compil" \
	  --ignore tests/concepts/bundle/test_bom.py \
	  tests/concepts tests/registry/index tests/uvr/engine tests/uvr/everywhere tests/uvr/families

docs: $(STAMP) ## build the manual as a site, in build/docs
	$(BIN)/python docs/command_reference.py
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

screenshots: $(STAMP) ## take the manual's pictures of the console, by its tests in Chromium; three minutes
	UVR_SCREENSHOTS=$(CURDIR)/docs/_static OMP_NUM_THREADS=1 \
	  $(BIN)/python -m pytest tests/console/test_browser.py

lint: $(STAMP) ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: bench-engine bench-registry ## measure everything

bench-engine: $(STAMP) demo ## measure erase rate, preservation and cost on the testbed
	$(BIN)/python -m uvr.evaluation.quick $(ARGS)
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/variants.py
	$(BIN)/python benchmarks/scale.py --json benchmarks/results/scale.json

bench-gpu: $(STAMP) ## time full-size models with random weights, on one GPU of 80 GB
	$(BIN)/python benchmarks/gpu.py --json benchmarks/results/gpu.json $(ARGS)

bench-registry: $(STAMP) ## measure the registry: commands, adding, bundles, search, console; draws growth.png
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/cli.py --json benchmarks/results/cli.json
	$(BIN)/python benchmarks/add.py --json benchmarks/results/add.json
	$(BIN)/python benchmarks/bundle.py --json benchmarks/results/bundle.json
	$(BIN)/python benchmarks/index.py --json benchmarks/results/index.json
	$(BIN)/python -m benchmarks.console --json benchmarks/results/console.json
	$(BIN)/python benchmarks/plot.py

train-testbed: $(STAMP) ## train the miniature FLUX again (PRESET=cpu or gpu)
	$(BIN)/python -m uvr.testbed.train --preset $(PRESET) $(ARGS)

clean:
	rm -rf build dist demo evaluation *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
