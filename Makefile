# make run     set up and run the demo (offline after installation)
# make test    set up and run the fast tests
# make check   lint, types and fast tests: what CI runs
# make slow    the tests that train for minutes
# make slurm   the launcher on a one-node Slurm (as root, after tests/slurm/install-slurm.sh)
# make ray     the launcher on Ray (after pip install -c constraints.txt -e ".[ray]")
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.PHONY: run test check lint slow slurm ray clean

run: $(READY)
	$(BIN)/btu

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist worksteal

check: lint test

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict btu

slow: $(READY)
	$(BIN)/pytest -m slow

slurm ray: $(READY)
	$(BIN)/pytest -rs -m $@

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev,offline]"
	touch $(READY)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
