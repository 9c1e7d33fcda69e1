# Everything a developer types. Needs make, and Python 3.11 or newer with venv; the rest it sets up.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
JOBS ?= 3
OUTAGES ?= 50
KILLS ?= 500
WITHHELD ?= 600
NODES ?= 1000
DAEMONS ?= 20
SEED ?= 7
STORE ?= raw

# What `make test` leaves to `make endings`.
EARLY := --ignore=tests/chaos/test_endings.py
BIN := $(VENV)/bin
# Names the interpreter: another Python makes the environment anew. Empty: there is no such command.
VERSION := $(shell $(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null)
READY := $(VENV)/.ready-$(VERSION)

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench endings outages chaos board whose convert-test systemd-test \
	container-test web-test asyncapi-test homeassistant-test fleet-test serving-test install uninstall \
	deb clean

help: ## say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo 'PYTHON=python3.12 names an interpreter, VENV=DIR the environment (default .venv).'

demo: $(READY) ## the whole line on this machine, no camera needed; ARGS="--once" for one trigger
	@$(BIN)/framebuf demo $(ARGS)

test: $(READY) ## the ordinary tests, JOBS=3 at a time, and the Debian packages they need; ARGS="-k ring"
	@sh tests/debian-packages.sh
	@sh tests/again.sh $(BIN)/pytest -n $(JOBS) --dist worksteal -m 'not alone' $(EARLY) $(ARGS)
	@sh tests/again.sh $(BIN)/pytest -m alone $(EARLY) $(ARGS)

endings: $(READY) ## each way in which the daemon may hang or die, under a supervisor; a minute
	@sh tests/debian-packages.sh
	@$(BIN)/pytest tests/chaos/test_endings.py $(ARGS)

lint: $(READY) ## ruff, mypy and the floors between the folders
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(READY) ## every script of tests/bench, with a summary; ARGS="ring" picks by name
	@sh tests/debian-packages.sh
	@$(BIN)/python tests/bench $(ARGS)

outages: $(READY) ## a camera on RTSP broken OUTAGES=50 times at random, SEED=7; some seven minutes
	@sh tests/debian-packages.sh
	@OUTAGES=$(OUTAGES) SEED=$(SEED) $(BIN)/pytest -s tests/service/test_rtsp.py $(ARGS)

chaos: $(READY) ## the daemon killed KILLS=500 times, SEED=7, STORE=raw or encoded; WITHHELD=600 s
	@sh tests/debian-packages.sh
	@KILLS=$(KILLS) SEED=$(SEED) STORE=$(STORE) WITHHELD=$(WITHHELD) $(BIN)/pytest -s tests/chaos $(ARGS)

convert-test: $(READY) ## framebuf convert with the real rknn-toolkit2: installs 1.5 GB or more, once
	@$(BIN)/pytest -s --durations=0 tests/convert $(ARGS)

asyncapi-test: $(READY) ## check --asyncapi, judged by AsyncAPI's own parser from npm; 30 s, once
	@sh tests/debian-packages.sh tests/asyncapi/debian-packages.txt
	@$(BIN)/pytest --timeout 400 tests/asyncapi $(ARGS)

homeassistant-test: $(READY) ## the real Home Assistant finds a node; as root, some minutes once, then one
	@sh tests/debian-packages.sh tests/homeassistant/debian-packages.txt
	@$(BIN)/python -m tests.homeassistant.bed
	@unshare --net sh -c 'ip link set lo up && exec "$$@"' sh \
		$(BIN)/pytest --timeout 600 tests/homeassistant $(ARGS)

fleet-test: $(READY) ## NODES=1000 nodes and DAEMONS=20 whole ones on one broker; two minutes, 2 GB
	@sh tests/debian-packages.sh
	@NODES=$(NODES) DAEMONS=$(DAEMONS) $(BIN)/pytest -s --timeout 900 tests/fleet $(ARGS)

serving-test: $(READY) ## real Triton, MLServer and KServe: installs 1 GB, once; some three minutes
	@sh tests/debian-packages.sh
	@$(BIN)/pytest --timeout 900 tests/serving $(ARGS)

board: $(READY) ## the vendor's wheel on emulated arm64, its library simulated; some four minutes
	@sh tests/debian-packages.sh tests/board/debian-packages.txt
	@$(BIN)/pytest tests/board $(ARGS)

whose: $(READY) ## 10,000 numbered frames: every answer belongs to its frame; a minute or two
	@NUMBERED=10000 $(BIN)/pytest --timeout=600 tests/unit/test_whose.py $(ARGS)

systemd-test: $(READY) ## the package on real systemds, Debian 12 and trixie; as root, 90 s
	@sh tests/debian-packages.sh tests/systemd/debian-packages.txt
	@$(BIN)/pytest --timeout 2400 tests/systemd $(ARGS)

container-test: $(READY) ## the container image, built with buildah and tried; as root
	@sh tests/debian-packages.sh tests/container/debian-packages.txt
	@$(BIN)/pytest --timeout 900 tests/container $(ARGS)

web-test: $(READY) ## the page in Chromium, the metrics in Prometheus; some two minutes
	@sh tests/debian-packages.sh
	@sh tests/debian-packages.sh tests/web/debian-packages.txt
	@$(BIN)/python -m pip install --disable-pip-version-check -q -e '.[browser]'
	@$(BIN)/pytest tests/web $(ARGS)

install: ## as root: program, service and configuration, to where Debian has them; DESTDIR=DIR
	@DESTDIR='$(DESTDIR)' PYTHON='$(PYTHON)' sh systemd/install.sh

uninstall: ## as root: what install put there; PURGE=yes takes configuration, state and user too
	@DESTDIR='$(DESTDIR)' PURGE='$(PURGE)' sh systemd/uninstall.sh

deb: ## dist/framebuf_….deb; RELEASE=bookworm or trixie, ARCH=amd64 or arm64
	@PYTHON='$(PYTHON)' RELEASE='$(RELEASE)' ARCH='$(ARCH)' sh debian/package.sh

clean: ## remove what was made, the environment too
	@rm -rf $(VENV) out dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
	@find framebuf tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A changed pyproject.toml is installed over what is there, so that nothing running from the
# environment loses it; where none of this Python is complete, it is made from nothing.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "framebuf needs Python 3.11 or newer, $(PYTHON) is $(or $(VERSION),not there):" \
			"apt install python3, or make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) has no venv: apt install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV) with Python $(VERSION): a minute, once." >&2
	@test -e $@ || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check -q -e '.[dev,demo,web]'
	@touch $@
