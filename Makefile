# The commands of the project: `make help`. There is no second list of them.
# Settings are given in the environment or after the command: make run PORT=8080.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help venv run servers status logs stop reset test images check audit drill bench prove lock manage

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
LOCAL := $(BIN)/python -m deploy.local
LOCK := pyproject.toml --universal --generate-hashes --no-header --no-emit-index-url --no-strip-extras

help: ## show these commands
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

run: .venv/.local ## start the whole system (PORT=8000, EXPIRATION_WINDOW_SECONDS=900, STRIPE_KEY=…)
	@exec $(LOCAL) up

servers: .venv/.local ## start the servers alone, to work on a service against them (P="mongod kafka": some)
	@exec $(LOCAL) servers $(P)

status: .venv/.local ## each process: state, since, restarts, memory
	@$(LOCAL) status

logs: .venv/.local ## follow the logs of all processes, or of some: make logs P="orders-web orders-raw"
	@exec $(LOCAL) logs $(P)

stop: .venv/.local ## stop what another terminal has started
	@$(LOCAL) down

reset: .venv/.local ## remove data, logs and passwords of this checkout
	@$(LOCAL) reset

manage: .venv/.local ## run a management command: make manage S=orders C="showmigrations"
	@$(LOCAL) manage $(S) $(C)

test: .venv/.dev ## run all tests on servers of their own: make test, make test PARTS="orders e2e"
	@exec $(LOCAL) test $(PARTS)

images: .venv/.dev ## build the images, try every process in a container, and orders on Testcontainers (needs Docker, or root on Debian)
	@exec $(LOCAL) test images orders-containers

bench: .venv/.dev ## measure the outbox against its references: make bench, make bench B="relay --repeat 5"
	@exec $(BIN)/python -m bench $(or $(B),all)

prove: .venv/.dev ## break the running system in every way and check every promise (SEED=7, LONG=1, SOAK=30)
	@exec $(BIN)/python -m prove $(if $(SEED),--seed $(SEED)) $(if $(LONG),--long) $(if $(SOAK),--soak $(SOAK)) $(PROVE)

check: .venv/.dev ## format, lint, types, imports, Dockerfiles, migrations, schemas
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/hadolint Dockerfile deploy/images/*/Dockerfile
	@$(LOCAL) check

audit: .venv/.dev ## compare the locked packages with the known holes (asks PyPI's and OSV's database)
	@exec $(BIN)/uvx pip-audit --strict --disable-pip --require-hashes -r requirements/base.txt

drill: .venv/.local ## lose every store of a stack of its own, restore a backup, prove what is left (some ten minutes)
	@exec $(BIN)/python -m deploy.drill

venv: .venv/.dev ## make the virtual environment with everything that development needs

lock: .venv/.dev ## resolve the requirements anew and write the locks
	$(BIN)/uv pip compile --quiet $(LOCK) --group dev -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet $(LOCK) -c requirements/dev.txt -o requirements/base.txt
	for group in local test lint; do \
	  $(BIN)/uv pip compile --quiet $(LOCK) -c requirements/dev.txt --group $$group -o requirements/$$group.txt; done

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "ticketing: Python 3.11 or newer is not there. Install it, with its venv module."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ticketing: Python 3.11 or newer is needed, and $(PYTHON) is older."; exit 1; }
	@echo "Making the virtual environment"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "ticketing: Python's venv module is not there. Run: sudo apt-get install python3-venv"; exit 1; }

# The group is installed again when its lock changes. `dev` holds all that `local` does.
.venv/.local: .venv/bin/python requirements/local.txt
	@test -e .venv/.dev -a .venv/.dev -nt requirements/local.txt || { echo "Installing the locked packages"; $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/local.txt; }
	@touch $@

.venv/.dev: .venv/bin/python requirements/dev.txt
	@echo "Installing the locked packages"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@
