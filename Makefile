# Every target makes the virtual environment it needs; `make demo` and `make test` are all there is to know.

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test opengl check docs clean

demo: $(VENV)/.installed
	$(BIN)/airscene train --preset digits --out runs/demo --overwrite

# a process a core, each with one thread: several threads on a core are many times slower
test: $(VENV)/.installed-test opengl
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

# The library with which MuJoCo draws without a screen; where it cannot be installed, tests that draw are skipped.
opengl:
	@ldconfig -p 2>/dev/null | grep -q libOSMesa || \
	{ command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && \
	apt-get update -qq && apt-get install -y -qq libosmesa6 >/dev/null; } || \
	echo "not found: libOSMesa (Debian, Ubuntu: sudo apt-get install libosmesa6)"

check: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build -W --keep-going docs docs/_build

clean:
	rm -rf $(VENV) docs/_build

# torch first and alone: an open range would fetch gigabytes of CUDA where a CPU build lies ready
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-%: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	touch $@
