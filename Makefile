# Everything needs Python >= 3.11 and GNU make, nothing else: `make demo`, `make test`.
# PYTHON chooses the interpreter, VENV the folder of the virtual environment, ARGS goes to the program that is run.

SHELL := /bin/sh
VENV ?= .venv
PYTHON ?= $(shell for p in python3 python3.15 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && exit; done; echo python3)
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install
export PIP_ROOT_USER_ACTION := ignore

.PHONY: help demo test quick fuzz mutate lint types check reference clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo   a whole federation on loopback, and what it achieves'
	@echo 'make test   all tests;  make quick  those that are over soon, without real processes'
	@echo 'make fuzz   30 seconds of coverage-guided fuzzing; ARGS="--seconds 3600" for more'
	@echo 'make mutate every change to handshake and session, and whether the vectors notice; ARGS="--kind check" for checks only'
	@echo 'make lint   style;  make types  types;  make check  lint, types and tests'
	@echo 'make reference   write docs/config-reference and what is generated in spec/ again;  make clean  remove what make has made'

demo: $(VENV)/.runtime
	$(BIN)/volly-fed testnet demo $(ARGS)

# The others have processes of their own, and time what they see: one after the other.
test: quick
	$(BIN)/python -m pytest -m 'real or debian or slow' $(ARGS)

quick: $(VENV)/.development
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 -m 'not (real or debian or slow)' $(ARGS)

fuzz: $(VENV)/.fuzz
	$(BIN)/python -m fuzz $(ARGS)

mutate: $(VENV)/.development
	$(BIN)/python -m mutation $(ARGS)

lint: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.development
	$(BIN)/mypy

check: lint types test

reference: $(VENV)/.development
	mkdir -p docs/config-reference
	$(BIN)/volly-fed config example homeserver > docs/config-reference/volly-fed.toml
	$(BIN)/volly-fed config example edge > docs/config-reference/edge.toml
	$(BIN)/volly-fed config example trust > docs/config-reference/trust.toml
	$(BIN)/python -m tests.spec.overview_run
	$(BIN)/python -m tests.spec.write

clean:
	rm -rf '$(VENV)' build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find volly_fed tests bench fuzz mutation -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: a repeated run costs nothing, a changed pyproject.toml installs again.

$(VENV)/.created:
	@command -v '$(PYTHON)' >/dev/null || { echo 'error: there is no $(PYTHON)'; \
		echo 'note: install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3.13 …'; exit 2; } >&2
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: volly-fed needs Python 3.11 or newer; $(PYTHON) is $$('$(PYTHON)' -V 2>&1)"; \
		echo 'note: install a newer one, or name it: make PYTHON=/path/to/python3.13 …'; exit 2; } >&2
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { echo 'error: $(PYTHON) comes without venv or pip'; \
		echo 'note: on Debian and Ubuntu, apt-get install python3-venv'; exit 2; } >&2
	'$(PYTHON)' -m venv '$(VENV)'
	@touch '$@'

$(VENV)/.runtime: $(VENV)/.created pyproject.toml
	$(PIP) --editable .
	@touch '$@'

$(VENV)/.development: $(VENV)/.created pyproject.toml
	$(PIP) --editable '.[test]'
	@touch '$(VENV)/.runtime' '$@'

# An interpreter that atheris has no wheel for gets none: then `make fuzz` says that it has done nothing.
$(VENV)/.fuzz: $(VENV)/.development
	$(PIP) --only-binary atheris --editable '.[test,fuzz]'
	@touch '$@'
