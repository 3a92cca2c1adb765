# Bare `make` lists the targets. Each one installs what it needs; none needs another to have run.
.DEFAULT_GOAL := help
.PHONY: help install demo test test-all test-ops chaos soak bench lint lock docs clean
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/.installed: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.browser: tools/install-browser.sh $(VENV)/.installed
	tools/install-browser.sh
	@touch $@

install: $(VENV)/.installed ## make .venv from the hashed requirement files

demo: $(VENV)/.installed ## see it work: emulators, a bucket, a local Whisper and the daemon, on this machine
	@$(BIN)/subscriber demo

test: $(VENV)/.browser lint ## lint, types and every test but the slow ones
	$(BIN)/pytest -m "not slow"

test-all: $(VENV)/.browser lint ## the same and the slow tests
	$(BIN)/pytest

test-ops: $(VENV)/.installed ## build and run the image, ask gcloud's linter, checkov and published schemas; minutes, installs what it needs
	tools/install-ops.sh $(VENV)/ops
	OPS_TOOLS=$(VENV)/ops $(BIN)/pytest --timeout=1800 tests/ops $(wildcard tests/ops/long_*.py)

chaos: $(VENV)/.installed ## daemons that are killed, stopped, paused and cut off; SEED=7 RUNS=3 repeats and goes on
	$(BIN)/python -m tests.chaos --seed $(or $(SEED),1) --runs $(or $(RUNS),1)

soak: $(VENV)/.installed ## a steady load with faults on one daemon; memory, threads, files, leases flat; MINUTES=30 takes longer
	@$(BIN)/python -m tests.chaos.soak --minutes $(or $(MINUTES),10)

bench: $(VENV)/.installed ## measure speed, memory, slots, word errors, also beside peers; NAME=race-8x0.2 measures one part
	@$(BIN)/python -m bench $(NAME)

lint: $(VENV)/.installed ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

UV_COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links
lock: ## pin versions and hashes anew (needs uv)
	$(UV_COMPILE) pyproject.toml -o requirements/runtime.txt
	$(UV_COMPILE) pyproject.toml --extra demo --group dev -c requirements/runtime.txt -o requirements/dev.txt

docs: $(VENV)/.installed ## write what the documentation takes from the code
	@$(BIN)/python -m tools.docs

clean: ## remove what the targets made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
