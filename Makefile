# One-line targets. PYTHON chooses the interpreter of a new .venv, e.g. make setup PYTHON=python3.13
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help setup run test bench lint format clean clients

help: ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## Create .venv and install everything (quick when nothing changed)

$(STAMP): requirements.txt requirements-embedded.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; $$($(PYTHON) --version) was found. Name another one: make setup PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "Could not create a virtual environment. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-embedded.txt
	@touch $(STAMP)

run: setup ## Start everything on http://127.0.0.1:8000
	@exec $(BIN)/python manage.py serve

test: setup ## Run the test suite on its own embedded services
	$(BIN)/python -m pytest -n 2

clients: setup .venv-clients/.installed ## Install the clients that tests/clients runs (Node.js is optional)
	@if command -v npm >/dev/null; then cd tests/clients && npm install --no-audit --no-fund --no-package-lock --silent; else echo "npm was not found: tests with Node clients will be skipped"; fi

.venv-clients/.installed: tests/clients/requirements.txt
	@test -x .venv-clients/bin/python || $(PYTHON) -m venv .venv-clients
	.venv-clients/bin/python -m pip install --quiet --disable-pip-version-check -r tests/clients/requirements.txt
	@touch $@

bench: setup ## Measure this gateway beside LiteLLM, e.g. make bench ARGS=--quick
	$(BIN)/python -m tests.benchmarks $(ARGS)

lint: setup ## ruff (check and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

format: setup ## Let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove caches (never the data directory)
	rm -rf .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
