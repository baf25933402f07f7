# Two commands do all the set-up: `make demo` (the main job) and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile  # one process per core, a file of tests in one of them
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-all lint clean-room clean
help: ## Show what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(VENV)/.demo: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make demo PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[demo]'
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

demo: $(VENV)/.demo ## Leave a vendor on this machine: export, re-run cut off, verdicts, signed evidence
	$(BIN)/reversible demo

test: $(VENV)/.dev ## Run the tests, without the slow ones
	$(PYTEST) -m 'not slow'

test-all: $(VENV)/.dev ## Run all the tests
	$(PYTEST)

lint: $(VENV)/.dev ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean-room: $(VENV)/.demo ## Install the default distribution alone and verify the demo's bundle with it
	PYTHON=$(PYTHON) DEMO=reversible-demo sh tests/clean_room.sh

clean: ## Remove what was made here
	rm -rf $(VENV) dist build reversible-demo .mypy_cache .ruff_cache .pytest_cache
