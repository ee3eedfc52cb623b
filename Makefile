# Two commands: `make demo` searches a loss and says what to use; `make test` checks everything. Both make their own
# virtual environment. With a GPU: `make demo CONSTRAINTS=` takes PyPI's CUDA build of torch instead.
PYTHON ?= python3.11
VENV ?= .venv
CONSTRAINTS ?= -c constraints.txt
BIN := $(VENV)/bin

.PHONY: demo test pytest coverage docs format check hooks clean

$(VENV)/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "evomal needs Python 3.11 or newer: make demo PYTHON=/path/to/python"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]' $(CONSTRAINTS)
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/evomal learn --dataset digits --model mlp --seed 0 --workers 2 --out runs/demo --force
	@echo; $(BIN)/evomal show runs/demo/loss.json
	@echo; echo "Its report, one page that needs no network:"
	@$(BIN)/evomal report runs/demo

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# A file stays with one of the two processes, so that what its tests share is made once; the longest come first
# (conftest.py), and xdist is not to put them into an order of its own.
TWO := -n 2 --dist loadfile --no-loadscope-reorder

# Types are checked beside it: that takes a minute of one core.
test: $(VENV)/.installed
	@$(MAKE) --no-print-directory -j 2 check pytest

pytest: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/pytest $(TWO)

# Tests, and the share of lines that they run. Apart from `test`: counting lines takes up to twice the time (measured).
coverage: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/pytest $(TWO) --cov=evomal --cov-report=term:skip-covered

# The manual as a site in build/manual, with warnings as errors; then whether every public name is in it.
docs: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[docs]' $(CONSTRAINTS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/pytest tests/test_manual.py -k "not code"

# From now on every commit is checked as `make check` does.
hooks: $(VENV)/.installed
	$(BIN)/pre-commit install

clean:
	rm -rf $(VENV)
