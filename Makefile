# Every target sets up what it needs: `make demo` and `make test` work from a fresh clone.
.DEFAULT_GOAL := help
.PHONY: help setup toolchains tools demo ui serve up down test test-all test-deploy test-k8s nightly lint bench clean-workspace
MAKEFLAGS += --no-print-directory

fits = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
# The first of these that is Python 3.11 or 3.12; failing that python3, so that the set-up can say what is missing.
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do \
	"$$p" -c "$(fits)" 2>/dev/null && echo "$$p" && exit; done; echo python3)
BIN := .venv/bin
TESTS ?= tests

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  \033[1mmake %-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## make .venv from requirements.lock (does nothing when it is up to date)
	@command -v "$(PYTHON)" >/dev/null || { echo "setup: needs Python 3.11 or 3.12; \
	on Debian or Ubuntu: apt install python3 python3-venv" >&2; exit 1; }
	@"$(PYTHON)" scripts/setup.py

toolchains: setup ## install the vendors' SDKs, each in its own environment (one alone: make toolchains ONLY=loihi2)
	@$(BIN)/python scripts/toolchains.py $(ONLY)

demo: setup ## run the pipeline once, on real recordings and three chips, as an Airflow DAG
	@$(BIN)/python scripts/toolchains.py || true  # without its SDK a target is unavailable; the others run
	@$(BIN)/snn-fusion retrain --no-speakers  # which would double its time

ui: setup ## start the Airflow and MLflow UIs on this machine only; Ctrl-C ends them
	@$(BIN)/snn-fusion ui

serve: setup ## serve the champion on http://127.0.0.1:3000; Ctrl-C ends it (options: make serve ARGS="--as loihi2")
	@$(BIN)/snn-fusion serve $(ARGS)

up: setup ## start the production stack with Docker; on https://localhost (options: make up ARGS="--host snn.example.org")
	@$(BIN)/snn-fusion up $(ARGS)

down: setup ## stop the production stack; its data stays
	@$(BIN)/snn-fusion down $(ARGS)

tools: setup
	@$(BIN)/python scripts/tools.py

test: toolchains tools ## run the tests but for the slowest (a part of them: make test TESTS=tests/encoding)
	@$(BIN)/pytest -n 2 --dist loadgroup $(if $(filter tests,$(TESTS)),-m "not slow") $(TESTS)

test-all: toolchains tools ## run all tests, as CI does
	@$(BIN)/pytest -n 2 --dist loadgroup $(TESTS)

test-deploy: setup ## build the images and try the stack on a real Docker engine; on Debian root needs none installed
	@scripts/docker_engine.sh $(BIN)/pytest tests/docker

test-k8s: tools ## try k8s/ in the cluster that KUBECONFIG names; skipped without
	@$(BIN)/pytest tests/k8s

nightly: setup ## what is too long for a change: long fuzzing, test-deploy, all tests on Python 3.12 where it is found
	@NIGHTLY=1 $(BIN)/pytest tests/targets/test_nir_file.py
	@$(MAKE) test-deploy
	@scripts/nightly.sh

lint: tools ## ruff, mypy (strict on src), the layers between the packages, and k8s/ against Kubernetes' schemas
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/k8s_check.py

bench: setup ## time binning, encoding, engine and chip simulators against their peers (options: make bench ARGS="--only engine")
	@$(BIN)/python benchmarks/run.py $(ARGS)

clean-workspace: ## delete workspace/: recordings, models, run history (not .venv); asks nothing
	@rm -rf workspace && echo "removed workspace/"
