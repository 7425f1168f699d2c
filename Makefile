# Two commands: `make demo` and `make test`. Each makes the environment it needs in .venv first.
#   GRPO_DEVICE=cpu|cuda   which build to install; by default cuda where nvidia-smi answers
#   PYTHON=python3.12      which Python; by default the first of 3.11 to 3.13 found
#   VENV=folder            where the environment goes
SHELL := /bin/sh
VENV ?= .venv
PYTHON ?= python3
SUITS = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# A version manager may leave a python3.12 on the path that does not run, so each is tried.
FOUND = $(shell for p in $(PYTHON) python3.11 python3.12 python3.13; do \
	"$$p" -c '$(SUITS)' 2>/dev/null && { echo "$$p"; break; }; done)

.PHONY: help demo test test-slow check grade-report setup doctor renew clean

help:
	@echo "make demo       train a small base model with GRPO and watch it take up reasoning"
	@echo "make test       all tests but the slow ones"
	@echo "make test-slow  the slow tests"
	@echo "make check      ruff and mypy"
	@echo "make grade-report  how well answers are graded, on hand-labelled pairs"
	@echo "make setup      the environment alone, in $(VENV)"
	@echo "make doctor     what this machine can run, and why not"
	@echo "make renew      resolve the lists in requirements/ anew"
	@echo "make clean      remove caches and build folders; runs/ and $(VENV) stay"

demo: setup
	@$(VENV)/bin/grpo train demo --overwrite

test: setup
	@$(VENV)/bin/pytest -m "not slow"

test-slow: setup
	@$(VENV)/bin/pytest -m slow

check: setup
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

grade-report: setup
	@$(VENV)/bin/python benchmarks/grade_report.py

setup:
	@python="$(FOUND)"; \
	if [ -n "$$python" ]; then exec "$$python" requirements/install.py "$(VENV)"; fi; \
	said=$$($(PYTHON) grpo/doctor.py --machine 2>/dev/null); \
	echo "$${said:-Linux x86_64 with Python 3.11 to 3.13 is needed, and no such Python was found.}" >&2; exit 1

doctor:
	@if [ -x $(VENV)/bin/python ]; then exec $(VENV)/bin/python grpo/doctor.py; fi; \
	exec $(PYTHON) grpo/doctor.py --machine

renew:
	@$(FOUND) requirements/renew.py

clean:
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find grpo rewards eval recipes tests benchmarks requirements -name __pycache__ -prune -exec rm -rf {} +
