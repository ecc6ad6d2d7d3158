# Two commands do everything: `make demo` and `make test`. Each sets up what it needs on a fresh Debian machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HEADLESS ?=
ALL ?=

# Images of Python often forbid to keep byte code. Every process that is started here would then compile our sources anew.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test check validation tampering performance setup kernels browser lock clean

demo: setup
	$(BIN)/tessera demo $(if $(filter-out 0 no false,$(HEADLESS)),--headless)

# Files in the order in which tests/conftest.py puts them: xdist's own begins those of few tests, which take longest, last.
test: setup kernels browser
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Every number beside R's, whose values are stored: writes docs/validation.md.
validation: setup
	$(BIN)/python -m tests.validation --write docs/validation.md

# Every message between nodes altered in every way: writes docs/tampering.md. Minutes on two cores; with ALL=1, which leaves
# out nothing of the longest operations, about half an hour.
tampering: setup
	$(BIN)/python -m tests.mpc_backend.tampering $(if $(ALL),--all) --write docs/tampering.md

# Measures what docs/performance.md states, in about 18 minutes on a machine with nothing else to do; PERFORMANCE="--only multiply".
performance: setup
	$(BIN)/python -m tests.performance $(PERFORMANCE)

setup: $(VENV)/.installed

# Debian splits venv out of Python: as root we fetch it, others are told what to install.
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c "import ensurepip" 2>/dev/null || if test "$$(id -u)" = 0; then apt-get update -q && apt-get install -y -q python3-venv; \
	else echo "$(PYTHON) cannot make virtual environments here; have an administrator run: apt-get install python3-venv" >&2; exit 1; fi
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# Before tests run beside one another: each would otherwise compile the same kernels, and nodes that tests start would too.
kernels: setup
	$(BIN)/python -m mpc_backend.kernels

browser:
	@command -v chromium >/dev/null || if test "$$(id -u)" = 0; then apt-get update -q && apt-get install -y -q --no-install-recommends chromium; \
	else echo "chromium is not installed: browser tests will skip (apt-get install chromium)"; fi

# Needs uv (`pip install uv`), which nothing else here does: run it after changing dependencies in pyproject.toml.
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q -o requirements.lock

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
