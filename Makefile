# How everything is run. All of it happens in .venv, which is made when it is first needed.

PYTHON ?= $(or $(shell command -v python3.11 2>/dev/null),python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
CODE := $(wildcard src tests benchmarks docs examples packaging)
PYTEST ?=
FAULTS ?=
# Processes that test side by side; they share one CrateDB.
WORKERS ?= 2
WORKING := --numprocesses=$(WORKERS) --dist=loadscope --no-loadscope-reorder --durations=10 --durations-min=2
LOCK := --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links

# Many processes import the same modules: with this set, each of them would compile all of these again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-long mutants check check-types check-rest docs man screenshots format bench lock packages clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP)  ## Make .venv with all that is needed, pinned by requirements.lock

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) lacks venv: apt-get install python3-venv, or make PYTHON=/path/to/another"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# uv takes a quarter of the time. It knows no configuration of pip, so where it cannot install, pip does.
	@# Python compiles what it imports; compiling all that is installed would take as long as installing it.
	@awk '/^uv==/ { on = 1 } on; on && !/\\$$/ { exit }' requirements.lock >$(VENV)/uv.txt
	$(PIP) --require-hashes -r $(VENV)/uv.txt \
		&& $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock \
		|| $(PIP) --no-compile --use-pep517 --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation -e '.[all]'
	@touch $@

demo: $(STAMP)  ## See it work on a file, without a server
	@$(BIN)/cratedb-retention demo

test: $(STAMP)  ## Run the tests; PYTEST='-k name -x' hands options on, WORKERS=0 tests in one process
	@$(BIN)/python -m pytest $(WORKING) $(PYTEST)

test-long: $(STAMP)  ## Run all tests: more examples, each instant of a kill on CrateDB, each kind of package
	@$(BIN)/python -m pytest $(WORKING) --long $(PYTEST)

mutants: $(STAMP)  ## Apply deliberate faults, and see that tests notice; FAULTS='--breaks="law 1"' chooses some
	@PYTHONPATH=tests $(BIN)/python -m mutants $(FAULTS)

check: $(STAMP)  ## Check form, types, layers and the generated documentation
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(MAKE) --no-print-directory --jobs=2 --output-sync check-types check-rest

check-types: $(STAMP)
	@$(BIN)/mypy --num-workers=2 $(CODE)

check-rest: $(STAMP)
	@$(BIN)/lint-imports --no-logo --no-cache
	@$(BIN)/python docs/generate.py --check
	@$(BIN)/python docs/deployment.py --check

docs: $(STAMP)  ## Write what follows from the program, in docs/ and deploy/, and build the site into build/site
	@$(BIN)/python docs/generate.py
	@$(BIN)/python docs/deployment.py
	@$(BIN)/python -m sphinx --builder html --fresh-env --fail-on-warning --keep-going --nitpicky --quiet docs build/site
	@echo build/site/index.html

man: $(STAMP)  ## Write a man page for each command into build/man
	@$(BIN)/python docs/man.py build/man

screenshots: $(STAMP)  ## Take the screenshots of the pages; needs Chromium
	@$(BIN)/python docs/screenshots.py

format: $(STAMP)  ## Bring the code into form
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

bench: $(STAMP)  ## Measure how long things take
	@$(BIN)/python -m benchmarks

packages: $(STAMP)  ## Build deb, rpm, apk and Arch packages into dist/, see docs/how-to/linux-packages.md
	@$(BIN)/python packaging/build_packages.py $(if $(PYTHON_PREFIX),--python-prefix='$(PYTHON_PREFIX)') \
		$(if $(MUSL_PYTHON_PREFIX),--musl-python-prefix='$(MUSL_PYTHON_PREFIX)') $(PACKAGES)

lock: $(STAMP)  ## Pin the newest versions that fit pyproject.toml
	$(BIN)/uv pip compile --upgrade --all-extras $(LOCK) -o requirements.lock pyproject.toml
	$(BIN)/uv pip compile --extra ui --extra oidc --extra duckdb --constraints requirements.lock $(LOCK) \
		-o requirements-runtime.lock pyproject.toml

clean:  ## Remove what was made
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
