# Two commands for newcomers: `make demo` and `make test`. Each sets up what it needs.

VENV ?= .venv
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo "$$p" && break; done)
BIN := $(VENV)/bin

.PHONY: demo test check tests faults soak calm bench bench-heart bench-growth bench-inprocess readme \
	dashboards pictures clean

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

## Most tests wait for servers. JOBS=0: one by one.
JOBS ?= 3
tests: $(VENV)/.test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "celery-statsd needs Python 3.11, 3.12 or 3.13: apt-get install python3" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "no venv here: apt-get install python3-venv" >&2; exit 2; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml
	@$(BIN)/pip install -qq --disable-pip-version-check -e .
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

## A healthy system at load for an hour: no tile of the overview is red, no alert fires, all is counted.
## Then made faults, on both brokers. CALM_SECONDS=60 for a minute.
calm: export CALM_SECONDS ?= 3600
calm: $(VENV)/.test
	$(BIN)/python -m pytest -s tests/dashboards/test_calm.py tests/dashboards/test_outages.py $(ARGS)

## What an event costs beside other consumers, on real brokers: half an hour. BENCH=quick: 3 minutes.
## CELERY_EXPORTER_CHECKOUT=path has celery-exporter take part, which is not on PyPI.
bench: $(VENV)/.test
	@{ test -x /usr/lib/rabbitmq/bin/rabbitmq-server && command -v redis-server; } >/dev/null || PYTHON=$(PYTHON) tests/install
	@PYTHON=$(PYTHON) benchmarks/install
	@$(BIN)/python -m benchmarks $(ARGS)

## What an event costs in the pipeline alone; ARGS=--instructions counts them (valgrind).
bench-heart: $(VENV)/.test
	@$(BIN)/python -m benchmarks.heart $(ARGS)

## The same as attempts in flight, series and workers grow, and what they cost in memory.
bench-growth: $(VENV)/.test
	@$(BIN)/python -m benchmarks.growth $(ARGS)

## What the in-process mode (celery_statsd.instrument) costs a task that does nothing.
bench-inprocess: $(VENV)/.test
	@$(BIN)/python -m benchmarks.inprocess $(ARGS)

readme: $(VENV)/.test
	$(BIN)/python -m tests.readme
	@! test -f benchmarks/results/latest.json || $(BIN)/python -m benchmarks.report --readme README.md

## What is generated below grafana/.
dashboards: $(VENV)/.test
	$(BIN)/celery-statsd dashboards write --shipped --out grafana

## Each dashboard over a good and a bad day, drawn with Grafana's own components (npm, chromium).
PICTURES ?= docs/pictures
pictures: $(VENV)/.test
	$(BIN)/python -m tests.pictures.draw $(PICTURES)

clean:
	rm -rf $(VENV) .cache build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
