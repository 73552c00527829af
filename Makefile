# Fedloom's commands. `make help` lists them; each works on a fresh machine and installs what it needs.
PYTHON ?= python3
BIN := .venv/bin
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH" $(BIN)/python
CLUSTER := $(PYTHON) -m tests.cluster
# What a target needs that runs on a Kubernetes: all of the local cluster's programs, or what speaks to the user's own.
PLATFORM := $(if $(FEDLOOM_KUBECONFIG),cluster-clients,cluster-tools)
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help python install generate check audit test test-gpu test-long test-repeat demo demo-cluster readme bench cluster cluster-tools cluster-clients store-tools s3 cluster-down images wheel clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

python:
	@$(PYTHON) -c "import sys; sys.version_info < (3, 11) and sys.exit('Fedloom needs Python 3.11 or newer, this is %s: run make with PYTHON=/path/to/python3.11' % sys.version.split()[0])"

install: ## .venv with everything that development needs (torch is most of it; cached)
	@$(PYTHON) tools/dev_environment.py

generate: install ## writes CRDs, reference pages and the chart's tables
	$(RUN) -m fedapi.crd crds charts/fedloom/crd-bases
	$(RUN) -m tools.reference_docs
	$(RUN) -m tools.values_docs

check: install ## lint, types, import contracts, unit tests: under a minute
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy operator trainer tools tests/cluster
	$(BIN)/lint-imports
	$(RUN) -m pytest -q -n 2 tests/unit tests/repo

audit: install ## known vulnerabilities of the pinned packages (asks osv.dev; 1: some, 3: it could not be asked)
	$(RUN) -m tools.audit

test: ## everything needed to trust a change, the real cluster included, from nothing
	@env --default-signal=INT bash tools/test_all.sh

test-long: test ## also what the examples promise about accuracy; figures in build/long/*.json
	$(RUN) -m pytest -q -s -m long tests/long

test-gpu: install ## the trainer on an NVIDIA GPU (nvcc, g++): rings by NCCL and gloo, sites that share the GPU
	$(RUN) -c "import sys, torch; torch.cuda.is_available() or sys.exit('make test-gpu needs an NVIDIA GPU, and torch finds none here')"
	$(RUN) images/trainer/horovod_wheel.py $(CURDIR)/$(BIN)/python build/gpu --nccl
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target build/gpu/site build/gpu/horovod-*.whl
	PYTHONPATH=$(CURDIR)/build/gpu/site $(RUN) -m pytest -q tests/gpu

test-repeat: cluster-tools store-tools install ## the suite without the cluster, 5 times with one core busy and 5 times without: hours
	bash tools/test_repeat.sh

demo: install ## the heart-disease consortium on this machine, no Kubernetes: build/demo/result.json
	$(RUN) examples/heart-disease/prepare.py
	$(BIN)/fedloom run examples/heart-disease/ --workdir build/demo/state --fresh --result build/demo/result.json

demo-cluster: $(PLATFORM) install ## the same manifests on a real Kubernetes: build/demo-cluster/result.json
	$(RUN) -m tools.demo_cluster

readme: ## runs the commands of README.md from an empty cache and an empty HOME (an hour; ends what it started)
	$(PYTHON) -m tools.readme_commands

bench: cluster-tools store-tools install ## measures; build/bench/results.json
	$(RUN) -m tests.bench

cluster-tools: python ## builds the local cluster's programs into the cache (minutes, once)
	$(CLUSTER) tools --full

store-tools: python ## real object stores and queues for tests, into the cache (minutes, once)
	$(PYTHON) -m tests.servers tools

s3: store-tools install ## a local S3 server (SeaweedFS, TLS) with a bucket, to try docs/storage.md on this machine; until Ctrl-C
	rm -rf build/s3
	$(RUN) -m tests.servers s3 build/s3

cluster-clients: python ## kubectl and helm where the machine has none, for a cluster of your own
	$(CLUSTER) tools --clients

cluster: cluster-tools ## a real one-node Kubernetes on this machine (Linux, root)
	$(CLUSTER) up

cluster-down: ## ends it
	$(CLUSTER) down

wheel: install ## dist/fedloom-*.whl
	rm -rf dist && $(RUN) -m hatchling build -t wheel

images: wheel cluster ## container images, loaded into the local cluster
	$(CLUSTER) images

clean: ## removes what was built in the checkout (caches stay)
	rm -rf build dist .venv
