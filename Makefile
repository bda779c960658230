# `make demo` and `make test` set up everything that they need; the second time they are quick.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
PIP := $(BIN)/pip --disable-pip-version-check

.PHONY: demo test check test-rust test-python docs clean
.DELETE_ON_ERROR:
.SUFFIXES:

demo: $(STAMPS)/package
	$(BIN)/pycrcnn demo

test: check test-rust test-python

# What needs no test run: format, lints, types. Release throughout: a debug build would build SEAL once more.
check: $(STAMPS)/package $(STAMPS)/check $(STAMPS)/rust-components
	cargo fmt --check
	cargo clippy --release --all-targets --features python -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest pycrcnn._native

# Kernels are tested on every backend that the machine has; what is built on them, on the slowest too.
test-rust: $(STAMPS)/system
	cargo test --release
	PYCRCNN_BACKEND=portable cargo test --release --test evaluator --test encryption --test batched

test-python: $(STAMPS)/package $(STAMPS)/check $(STAMPS)/torch $(STAMPS)/s3
	$(BIN)/pytest

# The guides and the reference, as a site in target/docs.
docs: $(STAMPS)/package $(STAMPS)/check $(STAMPS)/torch
	$(BIN)/sphinx-build -q -W -n docs target/docs

clean:
	rm -rf target $(VENV) python/pycrcnn/_native.*.so

# Set-up, one stamp a step. Stamps live in the environment, so removing it starts afresh.

$(STAMPS)/system: scripts/system-packages.sh
	scripts/system-packages.sh $(PYTHON)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	mkdir -p $(STAMPS)
	touch $@

$(STAMPS)/build: $(STAMPS)/system pyproject.toml
	$(PIP) install -q --upgrade 'pip>=25.1'
	$(PIP) install -q --group build
	touch $@

RUST_SOURCES := Cargo.toml Cargo.lock $(shell find src -name '*.rs')

$(STAMPS)/package: $(STAMPS)/build $(RUST_SOURCES) packaging/pycrcnn_build.py
	@echo 'building pycrcnn in release mode: seconds, or some minutes where Microsoft SEAL has to be compiled'
	$(PIP) install -q --no-build-isolation --editable '.[demo,objects,server]'
	touch $@

$(STAMPS)/check: $(STAMPS)/build
	$(PIP) install -q --group check
	touch $@

# Last, and a step of its own: PyTorch brings gigabytes of CUDA libraries, without which it does not import.
$(STAMPS)/torch: $(STAMPS)/build | $(STAMPS)/package $(STAMPS)/check
	$(PIP) install -q --group torch
	touch $@

# A real S3 server for the tests of object stores.
$(STAMPS)/s3: $(STAMPS)/system
	cargo install s3s-fs@0.14.1 --locked --features binary --root target/tools --target-dir target/tools/target
	touch $@

$(STAMPS)/rust-components: $(STAMPS)/system
	cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
	touch $@
