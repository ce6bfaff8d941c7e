# Everything a developer types.  Assumes python3 (>= 3.11, with venv), make and, for the compiled server, a C compiler.
# Each target sets up what it needs: $(VENV) with every development dependency, build/compiled with the compiled server.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
# In how many processes the tests run, as most of the time a test waits; 0 is none but pytest's own (--pdb).
PYTEST_JOBS ?= 3

BIN := $(VENV)/bin
READY := $(VENV)/.coordkit-ready
COMPILED := build/compiled
BUILT := $(COMPILED)/.built
SOURCES := $(shell find server/coordkit_server server/typings -name '*.py' -o -name '*.pyi' -o -name '*.lua')

# The server's path comes first, so that the tests and every process they start use the same copy of it.
INTERPRETED_ENV := PYTHONPATH="$(CURDIR):$(CURDIR)/server"
COMPILED_ENV := PYTHONPATH="$(CURDIR):$(CURDIR)/$(COMPILED)"
PARALLEL := --numprocesses=$(PYTEST_JOBS) --dist=worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test testc chaos peers check format bench docs clean distclean venv compiled

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

venv: $(READY)  ## set up .venv with all development dependencies
compiled: $(BUILT)  ## compile the server into build/compiled

demo: $(BUILT)  ## watch worker processes share real work on the bundled server
	$(COMPILED_ENV) $(BIN)/coordkit demo $(DEMO_ARGS)

test: $(READY)  ## run the tests, server interpreted
	$(INTERPRETED_ENV) $(BIN)/python -m pytest $(PARALLEL) $(PYTEST_ARGS)

testc: $(BUILT)  ## run the same tests, server compiled
	$(COMPILED_ENV) COORDKIT_EXPECT_COMPILED=1 $(BIN)/python -m pytest $(PARALLEL) $(PYTEST_ARGS)

chaos: $(BUILT)  ## run the slow tests (kills, pauses, soak), server compiled
	$(COMPILED_ENV) COORDKIT_EXPECT_COMPILED=1 $(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

peers: $(BUILT)  ## run other people's job queues on the compiled server
	COORDKIT_PURE=1 PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[peers]'
	$(COMPILED_ENV) $(BIN)/python -m pytest tests/clients/test_queue_libraries.py $(PYTEST_ARGS)

check: $(READY)  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(INTERPRETED_ENV) $(BIN)/lint-imports --no-logo

format: $(READY)  ## rewrite the sources as `make check` wants them
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(BUILT)  ## measure beside redis-server and valkey-server; writes bench-results/
	$(COMPILED_ENV) $(BIN)/python -m tests.benchmarks $(BENCH_ARGS)

docs: $(READY)  ## build the documentation into build/site; a warning is an error
	$(INTERPRETED_ENV) $(BIN)/python -m mkdocs build --quiet --strict

clean:  ## remove what was built, keep .venv
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find coordkit server tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## remove .venv too
	rm -rf $(VENV)

# PYTHONWARNINGS: setuptools warns of every editable install whose packages lie in more than one directory.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and \
		f"coordkit needs Python 3.11 or newer, $(PYTHON) is {v.major}.{v.minor}; name another: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	COORDKIT_PURE=1 PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-e '.[server,sidecar,trio,test,dev,docs]'
	@touch $@

$(BUILT): $(READY) $(SOURCES) setup.py
	rm -rf $(COMPILED) && mkdir -p $(COMPILED)
	$(BIN)/python setup.py --quiet build_ext --build-lib $(COMPILED) --build-temp build/temp
	cp -R server/coordkit_server $(COMPILED)/
	@touch $@
