# Two commands for newcomers: `make demo` and `make test`. Each sets up what it needs.

VENV ?= .venv
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo "$$p" && break; done)
BIN := $(VENV)/bin

.PHONY: demo test check tests faults soak readme clean

## The whole river on embedded parts; SECONDS=20 ends it by itself.
demo: $(VENV)/.demo
	@$(BIN)/celery-statsd demo $(if $(SECONDS),--seconds $(SECONDS))

## Everything CI does: what the tests need, lint, types, all tests.
test: $(VENV)/.test
	@PYTHON=$(PYTHON) tests/install
	@$(MAKE) --no-print-directory check tests

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

tests: $(VENV)/.test
	$(BIN)/python -m pytest $(ARGS)

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "celery-statsd needs Python 3.11, 3.12 or 3.13: apt-get install python3" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "no venv here: apt-get install python3-venv" >&2; exit 2; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml
	@$(BIN)/pip install -qq --disable-pip-version-check -e '.[demo]'
	@touch $@

$(VENV)/.test: $(VENV)/bin/python pyproject.toml
	@$(BIN)/pip install -qq --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/.demo

## Every fault of the matrix, at length (15 minutes); the table it prints is kept in docs/.
faults: $(VENV)/.test
	FAULTS=long $(BIN)/python -m pytest tests/faults $(ARGS)

## Floods and random faults together; SOAK_SECONDS=60 for a minute, SOAK_SEED=... to play one again.
soak: export SOAK_SECONDS ?= 3600
soak: $(VENV)/.test
	$(BIN)/python -m pytest -s tests/faults/test_soak.py $(ARGS)

readme: $(VENV)/.test
	$(BIN)/python -m tests.readme

clean:
	rm -rf $(VENV) .cache build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
