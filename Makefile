# Two commands: `make demo` learns a loss and compares it; `make test` checks everything. Both make their own
# virtual environment. With a GPU: `make demo CONSTRAINTS=` takes PyPI's CUDA build of torch instead.
PYTHON ?= python3.11
VENV ?= .venv
CONSTRAINTS ?= -c constraints.txt
BIN := $(VENV)/bin

.PHONY: demo test format check clean

$(VENV)/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "evomal needs Python 3.11 or newer: make demo PYTHON=/path/to/python"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]' $(CONSTRAINTS)
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

clean:
	rm -rf $(VENV) runs
