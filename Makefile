# Every target sets up .venv by itself; `make demo` is the shortest way to see nvmc at work.
# Another interpreter, beside the first: make VENV=.venv-other PYTHONS=/path/to/python3

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow fuzz lint docs bench schema clean

PYTHONS ?= python3.11 python3.12 python3.13 python3
USABLE := import ensurepip, os, sys, sysconfig, venv; \
  headers = os.path.join(sysconfig.get_path("include"), "Python.h"); \
  sys.exit(sys.version_info < (3, 11) or not os.path.exists(headers))
VENV ?= .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
EXTRAS ?= dev,docs,data,explore,train,report,tensorboard,cluster,parquet
# A broken compilation ends it here; for users nvmc goes on without what it compiles.
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 NVMC_EXTENSIONS=require $(BIN)/python -m pip install -qq \
  -c $(CONSTRAINTS)
# One process per core; each takes whole files, so that what a file sets up is made once.
JOBS ?= logical
TESTS ?= tests
PYTEST := $(BIN)/python -m pytest -q -n $(JOBS) --maxprocesses 8 --dist loadfile
SOURCES := pyproject.toml setup.py constraints.txt $(wildcard nvmc/*/csrc/* runtime/*/csrc/*)

help:
	@echo "make demo       compile LeNet-5 for FeFET cells and simulate 300 chips"
	@echo "make test       the tests, without the slow ones"
	@echo "make test-slow  the slow tests"
	@echo "make fuzz       mutated inputs of every kind: KINDS='toml csv' COUNT=10000"
	@echo "make lint       ruff and pyright"
	@echo "make docs       the site and its notebooks, into build/site; links and lists of options checked"
	@echo "make bench      the benchmarks"
	@echo "make schema     the published schemas of manifest.json and both schedule.json, from their types"
	@echo "make clean      remove .venv and everything built"

$(BIN)/python:
	@command -v $${CXX:-c++} g++ >/dev/null || \
	  { echo "nvmc builds a C++ extension and found no compiler; install g++" >&2; exit 1; }
	@for python in $(PYTHONS); do \
	  if $$python -c '$(USABLE)' >/dev/null 2>&1; then exec $$python -m venv $(VENV); fi; \
	done; \
	echo "nvmc needs Python 3.11 or newer with venv and its C headers (python3-dev), and none of" \
	  "'$(PYTHONS)' is; name one: make PYTHONS=/path/to/python3" >&2; exit 1

$(VENV)/.run: $(BIN)/python $(SOURCES)
	@echo "Installing nvmc into $(VENV) ..."
	@$(PIP) --no-compile -e .
	@touch $@

$(VENV)/.dev: $(BIN)/python $(SOURCES)
	@echo "Installing nvmc and its development tools into $(VENV) (some minutes) ..."
	@$(PIP) -e '.[$(EXTRAS)]'
	@touch $(VENV)/.run $@

# Most of its libraries' modules stay unread, so those it imports are compiled to bytecode then.
demo: export PYTHONDONTWRITEBYTECODE :=
demo: $(VENV)/.run
	@mkdir -p build/demo
	$(BIN)/nvmc compile zoo:lenet5-digits --device fefet2 --data digits \
	  -o build/demo/lenet5.nvmc
	$(BIN)/nvmc simulate build/demo/lenet5.nvmc --runs 300 --data digits

# Processes that tests start would else compile nvmc anew, each of them.
test test-slow: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/.dev
	$(PYTEST) $(TESTS)

test-slow: $(VENV)/.dev
	$(PYTEST) -m slow

# All kinds by default; build/fuzz.jsonl keeps what was run, so that it goes on where it was ended.
KINDS ?=
COUNT ?= 10000
fuzz: $(VENV)/.dev
	@mkdir -p build
	PYTHONPATH=tests:. $(BIN)/python -m fuzz $(KINDS:%=--kind %) --count $(COUNT) \
	  --log build/fuzz.jsonl

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# Lists of options on the pages are brought up to date first; warnings, dead links too, are errors.
docs: export NO_MKDOCS_2_WARNING := 1
docs: $(VENV)/.dev
	PYTHONPATH=tests:. $(BIN)/python -m snippets.listing
	PYTHONPATH=tests:. $(BIN)/python -m mkdocs build --quiet --strict

bench: $(VENV)/.dev
	@for benchmark in tests/benchmarks/bench_*.py; do \
	  echo "== $$benchmark"; $(BIN)/python $$benchmark; \
	done

schema: $(VENV)/.run
	@mkdir -p build
	@$(BIN)/python -c 'import json; from nvmc.compiled.artifact import manifest_schema; \
	  print(json.dumps(manifest_schema(), indent=1))' > build/schema.json
	@mv build/schema.json nvmc/compiled/schema/manifest.schema.json
	@$(BIN)/python -c 'import json; from nvmc.cost.schedule import schedule_schema; \
	  print(json.dumps(schedule_schema(), indent=1))' > build/schema.json
	@mv build/schema.json nvmc/cost/schema/schedule.schema.json
	@$(BIN)/python -c 'import json; from nvmc.export.schedule.format import program_schema; \
	  print(json.dumps(program_schema(), indent=1))' > build/schema.json
	@mv build/schema.json nvmc/export/schema/schedule.schema.json

clean:
	rm -rf .venv .venv-* build dist nvmc.egg-info .pytest_cache .ruff_cache .hypothesis
	rm -f runtime/provider/_shim*.so runtime/crossbar/_native*.so nvmc/rng/_normals*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
