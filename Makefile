# Two commands on a fresh machine: `make run` and `make test`. Needed: python3 (3.11+) with pip 22.3+, make, a C compiler.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test setup check lint types unit bench bench-confirm bench-spool chaos fuzz lock clean

run: setup ## start everything with sandbox accounts and show events arriving
	@exec $(BIN)/ulak up --demo $(ARGS)

test: setup lint types unit ## everything that continuous integration runs

setup: .venv/ready

# Debian's python3 has no ensurepip, hence an empty environment that pip fills from outside. Nothing is built from a
# moving target: versions and hashes are locked, and our own package is linked in without a build of its own environment.
.venv/ready: pyproject.toml requirements.lock
	$(PYTHON) -m venv --without-pip .venv
	$(PYTHON) -m pip --disable-pip-version-check --python $(BIN)/python install --quiet --require-hashes -r requirements.lock
	$(PYTHON) -m pip --disable-pip-version-check --python $(BIN)/python install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

unit: setup
	$(BIN)/python -m pytest --cov=receiver --cov-report=term $(ARGS)

check: test

bench: setup ## ratios against a bare Flask view and the naive pipeline
	$(BIN)/python -m bench.run $(ARGS)

bench-confirm: setup ## how many held facts one worker confirms a second
	$(BIN)/python -m bench.confirm $(ARGS)

chaos: setup ## TRIALS, SEED, SECONDS: kill, cut, fill and stop everything; nothing may be lost, nothing come twice
	$(BIN)/python -m chaos.run --trials $(or $(TRIALS),1) --seconds $(or $(SECONDS),240) $(if $(SEED),--seed $(SEED)) $(ARGS)

mutants: setup ## take out what keeps a promise, one thing at a time, and see that tests or the short run fail
	$(BIN)/python -m chaos.mutants $(ARGS)

fuzz: setup ## COUNT odd requests at every address: no 500, no forgery taken, no memory lost
	$(BIN)/python -m chaos.fuzz --count $(or $(COUNT),1000000) $(if $(SEED),--seed $(SEED)) $(ARGS)

bench-spool: setup ## how Ulak goes on while Redis stands still, and how it comes back
	$(BIN)/python -m bench.spool $(ARGS)

lock: ## after a change of dependencies; needs the package uv
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --all-extras --no-emit-index-url \
		--no-annotate --no-header --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv .ulak .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
