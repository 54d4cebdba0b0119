# Two commands: `make run` starts the chat, `make test` checks everything.
# The first Python that runs and has the right version.
RIGHT := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))
PYTHON ?= $(shell for name in python3.12 python3.11 python3 python; do \
	$$name -c '$(RIGHT)' >/dev/null 2>&1 && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
# Two workers, each with whole files: the tests of a file share servers, browsers and models.
PYTEST := $(BIN)/python -m pytest -q -rs -n 2 --dist loadfile --no-loadscope-reorder
ARGS ?=

.PHONY: run test lint soak bench clean

run: $(VENV)/.installed  ## start on http://127.0.0.1:7860 (ARGS="--port 8000" for settings)
	$(BIN)/python app.py $(ARGS)

test: $(VENV)/.installed-test lint  ## lint, types, tests
	$(PYTEST) $(ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

soak: $(VENV)/.installed-test  ## the repetitions that `make test` runs a tenth of
	$(PYTEST) --soak -m soak $(ARGS)

bench: $(VENV)/.installed-test  ## print the figures of docs/performance.md anew (ARGS=--quick)
	@for file in tests/benchmarks/bench_*.py; do \
		echo "== $$file"; \
		$(BIN)/python -m tests.benchmarks.$$(basename $$file .py) $(ARGS) || exit 1; done

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

$(VENV)/.installed: requirements.txt constraints.txt
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(RIGHT)' \
		|| { echo 'Python 3.11 or 3.12 is needed; name it with make PYTHON=...'; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	touch $@

$(VENV)/.installed-test: requirements-test.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-test.txt -c constraints.txt
	touch $@
