# make setup   a .venv with geo3d and what its tests need, and the system libraries of Open3D
# make demo    classify and label sample shapes, and draw the result
# make test    the test suite
# make test-processors    the tests where rounding may decide, under other instruction sets and numbers of threads
# make test-oldest        tests of the ops with the oldest versions that pyproject.toml takes
# make lint    style;  make types    type check;  make wheel    build, install apart and try the wheel

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LIBRARIES := libusb-1.0-0 libgl1 libegl1 libgomp1 libx11-6 libvulkan1 mesa-vulkan-drivers

# Some browser tests drive Chromium, which takes a while to install, so that only `make test` brings it.
BROWSER := chromium

.PHONY: setup demo test test-long test-processors test-oldest lint types wheel clean

setup: $(VENV)/.installed $(VENV)/.libraries

$(VENV)/.installed: pyproject.toml setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@

# Open3D loads these, which pip cannot bring. Without them everything but drawing works.
$(VENV)/.libraries: | $(VENV)/.installed
	@$(call system-packages,$(LIBRARIES),for pictures)

# Without it the tests of the page and of the live view are skipped.
$(VENV)/.browser: | $(VENV)/.libraries
	@$(call system-packages,$(BROWSER),for the browser tests)

# $(1) Debian packages to install where that is possible, $(2) what they are for.
define system-packages
missing=$$(for p in $(1); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
if [ -z "$$missing" ]; then touch $@; \
elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing >/dev/null && touch $@; \
elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then \
  sudo apt-get update -qq && sudo apt-get install -y -qq $$missing >/dev/null && touch $@; \
else echo "$(2), install these system packages (Debian's names):" $$missing; fi
endef

demo: setup
	$(BIN)/geo3d demo --out demo --overwrite

test: setup $(VENV)/.browser
	$(BIN)/python -m pytest
	@if $(BIN)/python -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then \
	  echo "and the kernels on the GPU:"; TRITON_INTERPRET=0 $(BIN)/python -m pytest tests/ops tests/models/detection; fi

test-processors: setup
	$(BIN)/python tests/processors.py

# OLDEST_PYTHON=python3.10 is the oldest that is claimed; the environment takes 5 GB, as PyPI's torch brings CUDA along.
OLDEST_PYTHON ?= $(PYTHON)
OLDEST := build/oldest
test-oldest:
	test -x $(OLDEST)/bin/python || $(OLDEST_PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet torch==2.7.* numpy==1.26.* numba==0.61.* scipy==1.11.* safetensors==0.4.* \
	  trimesh==4.4.* tqdm matplotlib==3.8.* pillow pytest hypothesis
	$(OLDEST)/bin/python -m pip install --quiet --no-deps -e .
	$(OLDEST)/bin/python -m pytest tests/ops

# What takes minutes a test: long runs, and every tool on every hostile file.
test-long: setup
	$(BIN)/python -m pytest -m long

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# A type checker does not see how setup.py maps folders, so it gets a tree of links in the shape of the package.
types: setup
	rm -rf build/types && mkdir -p build/types/geo3d
	ln -s $(CURDIR)/geo3d/* build/types/geo3d/
	for folder in ops viz tools configs; do ln -s $(CURDIR)/$$folder build/types/geo3d/$$folder; done
	cd build/types && MYPYPATH= $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml -p geo3d

wheel: setup
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip install --quiet build/wheel/*.whl
	cd build/wheel && venv/bin/geo3d demo --out demo && venv/bin/geo3d predict risurconv-shapes-classifier demo/chair.ply

clean:
	rm -rf build demo .pytest_cache .ruff_cache .mypy_cache
