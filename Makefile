# make demo   the main job from nothing: a swarm on this machine, with a cheat in it
# make test   every check and every test
# make bench  the budgets of the design, measured
# make trust  what cheats get through, simulated: what is missing in docs/trust.json (hours)

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Tests that start whole programs, engines and machines' worth of peers: apart from the others.
WHOLE  := tests/acceptance tests/sandbox tests/interop

.PHONY: demo test bench trust lint clean

demo: $(VENV)/installed-demo
	@$(BIN)/python -m examples.demo

test: $(VENV)/installed-dev lint
	@$(BIN)/python -u -m tests.prepare
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(addprefix --ignore ,$(WHOLE))
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(WHOLE)

lint: $(VENV)/installed-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

bench: $(VENV)/installed-dev
	@$(BIN)/python -m bench

trust: $(VENV)/installed-dev
	@$(BIN)/python -m simulator.study --jobs $$(nproc)
	@$(BIN)/python -m tests.docs.render

clean:
	rm -rf $(VENV) .demo build *.egg-info

$(VENV)/installed: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo "Installing Open-Swarm into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-demo: $(VENV)/installed
	@echo "Installing OpenAI's client for the demo into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[demo]"
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "Installing the tools that tests need into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

# Debian and Ubuntu ship python3 without ensurepip; as root the missing package is added, and said.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Open-Swarm needs Python 3.11 or later; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	    || { echo "python3-venv is missing: sudo apt-get install python3-venv"; exit 1; }; \
	  echo "Installing python3-venv with apt-get"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv; }
	@$(PYTHON) -m venv $(VENV)
