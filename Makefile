# `make demo` and `make test` set up everything they need in .venv, with uv when there is one.
PYTHON ?= python3
BIN := .venv/bin
# The newest whose constraints are kept.
AIRFLOW := $(lastword $(sort $(patsubst constraints/airflow-%.txt,%,$(wildcard constraints/airflow-*.txt))))
# uv does not compile what it installs. With this variable, each of Airflow's many processes would compile its imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo demo-bigquery test fuzz e2e bench audit lint lock docs site links screenshots dist faults clean

help: ## show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: .venv/installed ## create .venv with the package and its development tools

.venv/installed: requirements-dev.txt pyproject.toml
	@echo "Installing into .venv (about half a minute with uv, some minutes with pip) ..."
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --allow-existing --no-python-downloads --python $(PYTHON) .venv && \
	  uv pip install --quiet --python $(BIN)/python -r requirements-dev.txt && \
	  uv pip install --quiet --python $(BIN)/python --no-deps --editable . ; \
	else \
	  $(PYTHON) -m venv .venv && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable . ; \
	fi
	@touch $@

demo: install ## load 14 days from the sandbox API through Airflow into .demo/files
	@$(BIN)/python -m demo.files example_dags/claude_code_to_object_storage.py .demo

demo-bigquery: install ## load a week into a local stand-in for BigQuery, and query it
	@$(BIN)/python -m demo.bigquery example_dags/claude_code_to_bigquery.py .demo/bigquery

test: install ## run the unit and integration tests, or only TESTS=tests/unit/test_days.py
	@$(BIN)/python -m pytest $(if $(TESTS),$(TESTS),--numprocesses=logical --dist=worksteal)

fuzz: install ## try many more damaged and intact pages than the tests do, and count them (10 minutes)
	@HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest tests/unit/test_fuzz.py --hypothesis-show-statistics

e2e: install ## run the tests in a real Airflow, with the wheel as users install it
	@version=$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	$(BIN)/nox --session "e2e(python='$$version', airflow='$(AIRFLOW)')"

bench: install ## measure speed, memory and waiting, and write benchmarks/RESULTS.md (half an hour)
	@$(BIN)/nox -s bench

audit: install ## look for known vulnerabilities in the pinned packages
	@$(BIN)/nox -s audit

lint: install ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

docs: install ## write the references of tables and models
	@$(BIN)/python -m airflow_provider_claude_code reference tables > docs/reference/tables.md
	@$(BIN)/python -m airflow_provider_claude_code reference models > docs/reference/models.md

site: install ## build the documentation site into docs/_build
	@$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build
	@echo "docs/_build/index.html"

links: install ## check the links of the documentation to other sites
	@$(BIN)/sphinx-build --quiet --builder linkcheck docs .venv/links

screenshots: e2e ## take the screenshots of the documentation again, in a real Airflow
	@for image in docs/images/*.png; do cp ".screenshots/$${image##*/}" docs/images/ || exit; done

dist: install ## build the sdist and the wheel, check them, and install the sdist
	@$(BIN)/nox --session dist

faults: install ## list the tested faults in tests/integration/FAULTS.md
	@$(BIN)/python -m tests.fixtures.faults

lock: ## pin the development environment again, under the constraints of the newest Airflow
	@uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
	  --upgrade --extra google --extra report --extra s3 --group dev --group docs --group e2e --group bench \
	  --constraint constraints/airflow-$(AIRFLOW).txt pyproject.toml -o requirements-dev.txt

clean: ## remove what the other targets created
	rm -rf .venv .demo dist docs/_build
