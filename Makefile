# make help lists the targets. Needs GNU make, Python 3.11 or later, git, and rsync.

PREFIX ?= /usr/local
PYTEST_ARGS ?=
# tests at once: they wait for other programs for much of their time
WORKERS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
BENCH_ARGS ?=
TORTURE_ARGS ?=
# for make matrix: paths of programs; what is not named is what PATH has
RSYNC ?=
REMOTE_RSYNC ?=
GIT ?=
# python3, or the first newer one on PATH if that is too old
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)

VENV = .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --no-input -q
PROGRAMS = $(notdir $(wildcard bin/*))
override PREFIX := $(abspath $(patsubst ~/%,$(HOME)/%,$(PREFIX)))
LIB = $(PREFIX)/lib/gitlob-rsync
MAN = $(PREFIX)/share/man/man1

# $(call make-venv,FOLDER): some systems have venv without pip; the system's own pip fills it then
define make-venv
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or later is needed, and $(or $(PYTHON),python3) is not: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(1) >/dev/null 2>&1 || { \
		$(PYTHON) -m venv --clear --without-pip $(1) && \
		$(PYTHON) -m pip --disable-pip-version-check --python $(1)/bin/python install -q pip; }
endef

all: help

help:
	@echo 'make demo        what it does, in a temporary folder; needs no account'
	@echo 'make test        the tests, WORKERS=$(WORKERS) at once   PYTEST_ARGS="-k window" for a part, one by one'
	@echo 'make check       lint, types, and the quickest test of each room: under a minute'
	@echo 'make torture     the fault tests for long; writes docs/torture.md   TORTURE_ARGS="--runs 3"'
	@echo 'make matrix      one small job with other programs   RSYNC=/path/to/rsync REMOTE_RSYNC=... GIT=/path/to/git'
	@echo 'make install     the programs and pages PREFIX=$(PREFIX)'
	@echo 'make uninstall   remove them            PREFIX=$(PREFIX)'
	@echo 'make lint        ruff check, ruff format --check'
	@echo 'make types       mypy --strict'
	@echo 'make bench       measure side by side   BENCH_ARGS="--help"'
	@echo 'make clean       remove what the others made here'
	@echo 'PYTHON=... chooses the interpreter (3.11 or later).'

demo: demo-needs $(VENV)/stamp
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh tests/demo.sh

test: needs $(VENV)/stamp
	@$(BIN)/python -m pytest $(or $(PYTEST_ARGS),-n $(WORKERS) --dist worksteal --durations=20)

check: needs lint types
	@$(BIN)/python -m pytest -m smoke

torture: needs $(VENV)/stamp
	@$(BIN)/python -m tests.faults $(TORTURE_ARGS)

matrix: needs $(VENV)/stamp
	@$(BIN)/python -m tests.matrix $(if $(RSYNC),--rsync '$(RSYNC)') $(if $(REMOTE_RSYNC),--remote-rsync '$(REMOTE_RSYNC)') \
		$(if $(GIT),--git '$(GIT)')

lint: $(VENV)/lint-stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/lint-stamp
	$(BIN)/mypy

# what users have: programs installed from this folder start quicker than those that find their modules in it
bench: $(VENV)/stamp
	@$(MAKE) -s install PREFIX=$(VENV)/installed
	@PROGRAMS=$(CURDIR)/$(VENV)/installed/bin $(BIN)/python -m tests.bench $(BENCH_ARGS)

needs:
	@tests/install-needs.sh tests

demo-needs:
	@tests/install-needs.sh demo

$(VENV)/stamp: setup.cfg pyproject.toml
	$(call make-venv,$(VENV))
	$(PIP) install -e '.[test]'
	@touch $@

$(VENV)/lint-stamp: $(VENV)/stamp
	$(PIP) install -e '.[test,lint]'
	@touch $@

# built from a copy, so that a call as root leaves nothing of root's behind in this folder
install:
	$(call make-venv,$(LIB))
	umask 022 && copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT && \
		cp -R setup.cfg pyproject.toml README.md LICENSE bin gitlob_rsync "$$copy" && \
		$(LIB)/bin/python -m pip --disable-pip-version-check --no-input -q install "$$copy"
	install -d $(PREFIX)/bin $(MAN)
	for p in $(PROGRAMS); do ln -sf $(LIB)/bin/$$p $(PREFIX)/bin/$$p || exit 1; done
	install -m 644 man/*.1 $(MAN)

uninstall:
	rm -f $(PROGRAMS:%=$(PREFIX)/bin/%) $(PROGRAMS:%=$(MAN)/%.1)
	rm -rf $(LIB)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find gitlob_rsync tests -name __pycache__ -prune -exec rm -rf {} +

.PHONY: all help demo test check torture matrix lint types bench needs demo-needs install uninstall clean
