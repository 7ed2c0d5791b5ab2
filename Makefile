# One command for each thing; `make help` lists them. A fresh Debian-like machine with Python 3.11+, make and git is
# enough: whatever else a target needs, it installs into .venv (or says in one line what to install).

PYTHON ?= python3

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input

# --- set-up ------------------------------------------------------------------------------------------------------

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Perdure needs Python 3.11 or newer: set PYTHON=/path/to/python3.11 (this is $$($(PYTHON) --version 2>&1))"; exit 1; }
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	  package="$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "==> Installing $$package"; \
	    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$$package"; } >/dev/null; \
	  else echo "This Python cannot make virtual environments: sudo apt-get install $$package"; exit 1; fi; \
	fi
	@echo "==> Creating $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# The lock holds the build backend too, so the editable install fetches nothing that is not in it.
$(VENV)/.installed: $(VENV)/.created requirements.lock pyproject.toml
	@echo "==> Installing what requirements.lock names"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: venv
venv: $(VENV)/.installed ## Create .venv with everything in it, the package installed editable
