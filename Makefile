# Everything needs Python >= 3.11 and GNU make, nothing else: `make demo`, `make test`.
# PYTHON chooses the interpreter, VENV the folder of the virtual environment, ARGS goes to the program that is run.

SHELL := /bin/sh
VENV ?= .venv
PYTHON ?= $(shell for p in python3 python3.15 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && exit; done; echo python3)
ARGS ?=

BIN := $(VENV)/bin
QUIETLY := --disable-pip-version-check --quiet install
PIP := $(BIN)/python -m pip $(QUIETLY)
RELEASE := build/release
export PIP_ROOT_USER_ACTION := ignore

.PHONY: help demo test quick fuzz mutate interop docs lint types check reference dist installed sbom lock clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo   a whole federation on loopback, and what it achieves'
	@echo 'make test   all tests;  make quick  those that are over soon, without real processes'
	@echo 'make fuzz   30 seconds of coverage-guided fuzzing; ARGS="--seconds 3600" for more'
	@echo 'make docs   the documentation as a site, in build/site'
	@echo 'make interop   scenarios for every implementation in interop/peers, compared with interop/results.jsonl'
	@echo 'make mutate every change to handshake and session, and whether the vectors notice; ARGS="--kind check" for checks only'
	@echo 'make lint   style;  make types  types;  make check  lint, types and tests'
	@echo 'make dist   wheel and sdist;  make installed   the wheel over the pinned dependencies;  make sbom   what is in there'
	@echo 'make lock   bring requirements/ in step with pyproject.toml; ARGS=--upgrade for newer versions'
	@echo 'make reference   write docs/config-reference and what is generated in spec/ again;  make clean  remove what make has made'

demo: $(VENV)/.runtime
	$(BIN)/volly-fed testnet demo $(ARGS)

# The others take longer, or have processes of their own: a file of tests at a time on each of two processors.
test: quick
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m 'real or debian or slow' $(ARGS)

quick: $(VENV)/.development
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 -m 'not (real or debian or slow)' $(ARGS)

fuzz: $(VENV)/.fuzz
	$(BIN)/python -m fuzz $(ARGS)

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet $(ARGS)
	@echo 'build/site/index.html'

interop: $(VENV)/.development
	$(BIN)/python -m interop.run $(ARGS)
	cd interop/peers/js && npm --silent test

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

# The same files from the same commit, wherever and whenever: tests/release builds twice and compares.
dist: $(VENV)/.development
	rm -rf dist
	$(BIN)/python -m build --no-isolation

# What a user gets: the wheel, with the pinned dependencies, in an environment that has nothing else.
INSTALL_IN := $(BIN)/python -m pip --python build/installed/bin/python
installed: dist
	rm -rf build/installed
	'$(PYTHON)' -m venv --without-pip build/installed
	$(INSTALL_IN) $(QUIETLY) --require-hashes --requirement requirements/lock.txt
	$(INSTALL_IN) $(QUIETLY) --no-deps --no-index dist/*.whl
	$(INSTALL_IN) check
	build/installed/bin/volly-fed --version
	build/installed/bin/volly-fed --help >/dev/null

sbom: installed $(RELEASE)/.installed
	$(RELEASE)/bin/cyclonedx-py environment --output-reproducible --validate --pyproject pyproject.toml \
		--output-format JSON --output-file build/sbom.cdx.json build/installed/bin/python

COMPILE := $(RELEASE)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock: $(RELEASE)/.installed
	$(COMPILE) $(ARGS) --output-file requirements/lock.txt pyproject.toml
	$(COMPILE) $(ARGS) --output-file requirements/development.txt --extra test pyproject.toml
	$(COMPILE) $(ARGS) --output-file requirements/release.txt --group release

clean:
	rm -rf '$(VENV)' build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find volly_fed tests bench fuzz interop mutation -name __pycache__ -type d -prune -exec rm -rf {} +

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

$(VENV)/.runtime: $(VENV)/.created pyproject.toml requirements/lock.txt
	$(PIP) --require-hashes --requirement requirements/lock.txt
	$(PIP) --no-deps --editable .
	@touch '$@'

# liboqs as a witness is read out of its wheel and never installed: the package has the name of liboqs-python's.
$(VENV)/.development: $(VENV)/.created pyproject.toml requirements/development.txt tests/crypto/liboqs-wasm.txt
	$(PIP) --require-hashes --requirement requirements/development.txt
	$(PIP) --no-deps --editable .
	$(BIN)/python -m pip --disable-pip-version-check --quiet download --no-deps --require-hashes \
		--dest '$(VENV)/liboqs-wasm' --requirement tests/crypto/liboqs-wasm.txt
	@touch '$(VENV)/.runtime' '$@'

$(VENV)/.docs: $(VENV)/.development
	$(PIP) --editable '.[docs]'
	@touch '$@'

# An interpreter that atheris has no wheel for gets none: then `make fuzz` says that it has done nothing.
$(VENV)/.fuzz: $(VENV)/.development
	$(PIP) --only-binary atheris --editable '.[test,fuzz]'
	@touch '$@'

$(RELEASE)/.installed: requirements/release.txt
	'$(PYTHON)' -m venv --clear '$(RELEASE)'
	$(RELEASE)/bin/python -m pip $(QUIETLY) --require-hashes --requirement requirements/release.txt
	@touch '$@'
