# `make demo` and `make test` need Python 3.11+, pip and make, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help

# A stamp per set of extras: installing again is skipped until the project's dependencies change.
RUN_STAMP = $(VENV)/.installed-run
DEV_STAMP = $(VENV)/.installed-dev

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Softvote into $(VENV) (torch alone takes some minutes the first time) ..."
	$(PIP_INSTALL) --editable '.[worker]'
	@touch $@

$(DEV_STAMP): $(RUN_STAMP)
	$(PIP_INSTALL) --editable '.[worker,test,lint]'
	@touch $@

.PHONY: help setup demo serve test test-all torture lint types openapi format bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(DEV_STAMP) ## Install everything into .venv, development tools too

demo: $(RUN_STAMP) ## Evaluate the shipped checkpoints on the shipped images through the real service, then keep serving
	$(BIN)/python -m examples.digits.demo

serve: $(RUN_STAMP) ## Web, worker and scheduler on the embedded default (data in SOFTVOTE_HOME)
	$(BIN)/softvote up

test: $(DEV_STAMP) ## The tests that need no server
	@echo "Left out here: the tests marked 'services', which need Redis and PostgreSQL (make test-all runs them too)."
	$(BIN)/python -m pytest -m "not services"

test-all: $(DEV_STAMP) ## All tests; without Redis, PostgreSQL or Chromium the tests that need them are skipped with a reason
	$(BIN)/python -m pytest

# Which service is tortured, how often, from which seed: make torture STACK=services FAULTS=100 SEED=7
STACK ?= sqlite
FAULTS ?= 1000
SEED ?= 1

torture: $(DEV_STAMP) ## 1,000 seeded faults against a running service: STACK=sqlite or services, FAULTS=, SEED=
	$(BIN)/python -m tests.nemesis.run --stack $(STACK) --faults $(FAULTS) --seed $(SEED)

lint: $(DEV_STAMP) ## Format, style and the import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(DEV_STAMP) ## mypy --strict
	$(BIN)/mypy

openapi: $(DEV_STAMP) ## Write docs/openapi.json anew; refuses what would break clients, unless BREAKING=1
	$(BIN)/python -m tests.openapi.golden $(if $(BREAKING),--breaking)

format: $(DEV_STAMP) ## Let ruff format and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV_STAMP) ## Speed of the engine beside torchvision's reference loop
	$(BIN)/python -m benchmarks.engine

clean: ## Remove caches and the demo's data, keep .venv
	rm -rf .demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
