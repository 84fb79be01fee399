# `make help` lists what there is. Every target sets itself up first; doing so twice does nothing.
.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
CODE := dispatcher consumers producers storage ops tests

# The first Python that is new enough, unless PYTHON=... names one.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v "$$python" && break; done)
SETUP = $(if $(PYTHON),,$(error System2 needs Python 3.11 or newer: install it, or name one with PYTHON=/path/to/python3))$(PYTHON) -B -m ops.bootstrap

.PHONY: help venv setup demo test quick check up down clean

help:  ## list what there is
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv:
	@$(SETUP) --without-servers

setup:  ## install what is missing: virtual environment, packages, PostgreSQL, RabbitMQ (YES=1: do not ask)
	@$(SETUP)

demo: setup  ## watch 500 orders travel from platform to till and back
	@$(BIN)/system2 demo

test: setup  ## run all tests, with real servers of their own
	@$(BIN)/pytest tests

quick: venv  ## run the tests that need no servers
	@$(BIN)/pytest tests/unit tests/contracts tests/architecture

check: venv  ## style, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --strict $(CODE)

up: setup  ## start a private PostgreSQL and RabbitMQ under .stack/
	@$(BIN)/system2 up

down: venv  ## stop them; their data stay
	@$(BIN)/system2 down

clean:  ## remove the virtual environment, caches, and the local servers with their data
	@if [ -d .stack ] && [ -x $(BIN)/system2 ]; then $(BIN)/system2 down --wipe --yes; fi
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
