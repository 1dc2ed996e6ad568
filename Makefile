PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
DOCS_INSTALLED := .venv/docs-installed
ARGS ?=

.PHONY: backtest test test-all fuzz matrix check docs pictures tables format setup clean

# the main benchmark: our models and Darts' on the bundled ridership data; options in ARGS, such as ARGS="--seeds 3"
backtest: $(INSTALLED)
	$(BIN)/python -m benchmarks backtest $(ARGS)

# tests, on all CPU cores, without those marked as slow
test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow" $(ARGS)

# all tests, including the slow ones
test-all: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

# property tests of the forecasters: ten times as many cases as in `make test`, drawn afresh each time
fuzz: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist worksteal --hypothesis-profile=fuzz tests/models/test_properties.py $(ARGS)

# tests with other versions of Python, PyTorch, pandas and NumPy (a subset), on another processor and with other numbers of threads;
# runs the environments of tests/matrix.toml named in ARGS, or all
matrix: $(INSTALLED)
	$(BIN)/python tests/matrix.py $(ARGS)

# formatting, linting, imports between subpackages, types
check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

# build the documentation in docs/ as docs/_build/index.html; a warning or a broken link is an error
docs: $(DOCS_INSTALLED)
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --fresh-env --quiet docs docs/_build
	@echo "Open docs/_build/index.html"

# redraw the pictures of README and docs/, and rerun the notebooks
pictures: $(INSTALLED)
	$(BIN)/python docs/pictures/draw_forecast.py
	$(BIN)/python docs/pictures/draw_networks.py
	$(BIN)/python docs/pictures/draw_architecture.py
	$(BIN)/python -m tests.notebooks

# update the tables of README, benchmarks/ and docs/ from the published results
tables: $(INSTALLED)
	$(BIN)/python -m benchmarks tables $(ARGS)

setup: $(INSTALLED)

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .matrix

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; name one, such as: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[dev]'
	@touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[docs]'
	@touch $@
