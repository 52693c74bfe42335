# make demo | test | lint | bench. Everything is installed into .venv from the hashed lock files.

PYTHON ?= python3
VENV ?= .venv
DEMO_SECONDS ?= 60
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test lint bench setup wheel-smoke system clean

demo: $(VENV)/.runtime
	$(BIN)/zygoma demo --seconds $(DEMO_SECONDS)

test: $(VENV)/.test
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.test
	$(BIN)/zygoma bench latency
	$(BIN)/zygoma bench latency --fps 60
	$(BIN)/zygoma bench analyze
	$(BIN)/zygoma bench fusion
	$(BIN)/zygoma bench emg
	$(BIN)/zygoma bench thermal
	$(BIN)/zygoma bench action-units
	$(BIN)/zygoma bench spotting
	$(BIN)/zygoma bench monitor

setup: $(VENV)/.runtime

# A second environment that has only what a user's `pip install` of the wheel would give it.
wheel-smoke: $(VENV)/.test
	rm -rf build dist .venv-wheel
	$(BIN)/python -m build --wheel --no-isolation --outdir dist . > /dev/null
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements.lock
	.venv-wheel/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --no-index dist/*.whl
	cd /tmp && $(CURDIR)/.venv-wheel/bin/zygoma doctor
	cd /tmp && $(CURDIR)/.venv-wheel/bin/zygoma demo --seconds 12 --json > /dev/null
	rm -rf build dist .venv-wheel

# System libraries come first: as root they are installed, otherwise the one missing line is said.
system:
	@missing=""; \
	for pair in libEGL.so.1=libegl1 libGLESv2.so.2=libgles2 libGL.so.1=libgl1 libgthread-2.0.so.0=libglib2.0-0; do \
	  $(PYTHON) -c "import ctypes,sys; ctypes.CDLL(sys.argv[1])" $${pair%%=*} 2>/dev/null || missing="$$missing $${pair##*=}"; \
	done; \
	$(PYTHON) -c "import ensurepip, venv" 2>/dev/null || missing="$$missing python3-venv"; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing > /dev/null; \
	  else \
	    echo "System packages are missing: run 'sudo apt-get install -y$$missing' and try again."; exit 1; \
	  fi; \
	fi

$(VENV)/bin/python: | system
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "zygoma needs Python 3.11 or newer: try 'make PYTHON=python3.11 ...'."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation --no-index --editable .
	touch $@

$(VENV)/.test: requirements-test.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements-test.lock
	$(PIP) install --no-deps --no-build-isolation --no-index --editable .
	touch $@ $(VENV)/.runtime

clean:
	rm -rf $(VENV) .venv-wheel build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
