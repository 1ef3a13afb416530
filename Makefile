# pero-worker: set-up, tests and demo. `make` alone lists the targets.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
# Compiled modules are kept: compiling all of torch and scipy costs each process five seconds.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PAGES  ?= ../shared/pages
# Of each target of the coverage-guided fuzz tests.
SECONDS_A_TARGET ?= 300
# The CPU build of torch. On x86-64 PyPI has only the CUDA build, so PyTorch's own index is asked, too, unless pip is
# told where wheels lie on this machine.
TORCH_INDEX ?= $(if $(PIP_FIND_LINKS),,https://download.pytorch.org/whl/cpu)
TORCH  ?= torch==2.13.0$(if $(filter x86_64,$(shell uname -m)),+cpu)

VENV := .venv
BIN  := $(VENV)/bin
DEMO := build/demo
REFUSED_LICENCES := GPL-2.0-only;GPL-2.0-or-later;GPL-3.0-only;GPL-3.0-or-later;GNU General Public License v2 (GPLv2);GNU General Public License v3 (GPLv3);GNU General Public License v3 or later (GPLv3+);GNU Affero General Public License v3;AGPL-3.0-only;AGPL-3.0-or-later
# --no-compile: Python compiles what is used at first use; compiling all would cost 0.3 GB.
PIP_INSTALL := $(BIN)/pip install -qq --no-compile $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) '$(TORCH)'
# pero-ocr brings the OpenCV build that wants libGL, which a bare machine lacks.
CHECK_ENV = $(BIN)/python -c 'import cv2' 2>/dev/null || scripts/apt-install.sh libgl1 libglib2.0-0; \
	$(BIN)/python -c 'import cv2, sys, torch; sys.exit("torch is a CUDA build: see TORCH in the Makefile" if torch.version.cuda else 0)' \
	&& echo "size of the environment: $$(du -s -BMB $(VENV))"

.PHONY: help demo demo-gateway screenshots install test unit docs licences acceptance bundle check-bundle check-containers check-upgrade test-rabbitmq4 lint bench-quality bench-confidence bench-local bench-engine bench-start bench-cluster bench-bulk bench-growth bench-scale bench-queues bench-relay bench-payload bench-watchdog bench-gateway bench-web bench-away bench-durability chaos fuzz mutants clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

demo: $(DEMO)/.stamp-scans $(DEMO)/.stamp-drawn ## set up everything, then read seven pages into demo-out/
	$(BIN)/pero-worker ocr $(DEMO)/scans -o demo-out --formats page,alto,text,pdf
	@$(BIN)/python demo/show.py demo-out

demo-gateway: $(DEMO)/.stamp-scans ## an HTTP gateway on this machine, and a client: curl sends a scan and prints its text
	command -v curl >/dev/null || scripts/apt-install.sh curl
	demo/gateway.sh $(BIN) $(DEMO)/scans

screenshots: $(VENV)/.stamp-test $(DEMO)/.stamp-scans ## pictures of the gateway's pages, into docs/images
	$(BIN)/python demo/screenshots.py $(DEMO)/scans docs/images

install: $(VENV)/.stamp-program ## the program in .venv

test: lint $(DEMO)/.stamp-scans ## lint, then all tests
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.stamp-test ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(VENV)/.stamp-test $(DEMO)/.stamp-scans ## unit tests alone
	$(BIN)/python -m pytest -n 2 -q tests/unit

docs: $(VENV)/.stamp-test ## the documentation's site in build/site; broken links and undocumented options fail
	$(BIN)/python -m sphinx -W --keep-going -n -q -b html docs build/site

licences: $(VENV)/.stamp-test ## licences of all that is installed; fails on one that docs/licences.md does not allow
	$(BIN)/pip-licenses --from=mixed --order=license --ignore-packages Levenshtein docutils \
		--fail-on="$(REFUSED_LICENCES)"

acceptance: $(VENV)/.stamp-test $(DEMO)/.stamp-scans ## upstream's README typed in, kept in docs/acceptance.md
	PERO_WORKER_ACCEPTANCE_LOG=docs/acceptance.md $(BIN)/python -m pytest -n 0 -q tests/cluster/test_seed_readme.py

test-rabbitmq4: $(VENV)/.stamp-test ## the cluster's tests with RabbitMQ 4 of Debian 13 (as root)
	tests/rabbitmq4.sh build/rabbitmq4
	PERO_WORKER_RABBITMQ=$(CURDIR)/build/rabbitmq4/rabbitmq-server $(BIN)/python -m pytest -n 2 tests/cluster

bench-quality: $(VENV)/.stamp-test ## error rates on PAGES (default ../shared/pages)
	scripts/apt-install.sh tesseract-ocr $(addprefix tesseract-ocr-,eng deu ces fra nld frk)
	$(BIN)/python benchmarks/quality.py $(PAGES)

bench-confidence: $(VENV)/.stamp-test ## what confidences of lines are worth on PAGES with PAGE XML, and docs/images/reliability.svg
	$(BIN)/python benchmarks/confidence.py $(PAGES) --svg docs/images/reliability.svg

bench-local: $(VENV)/.stamp-program ## speed of one machine on PAGES
	$(BIN)/python benchmarks/local.py $(PAGES)

bench-engine: $(VENV)/.stamp-program ## how busy the device of one process is, step by step; on a GPU too where there is one
	$(BIN)/python benchmarks/engine.py $(PAGES)

bench-start: $(VENV)/.stamp-test ## what starting costs, and what a worker and a watchdog without work take
	$(BIN)/python benchmarks/start.py

bench-cluster bench-farm: $(VENV)/.stamp-test ## how long a page waits in a cluster, beside upstream's figures
	$(BIN)/python benchmarks/waiting.py

bench-relay: $(VENV)/.stamp-test ## what a page costs a worker, beside a bare relay
	$(BIN)/python benchmarks/relay.py

bench-payload: $(VENV)/.stamp-test ## what RabbitMQ carries and keeps with images in a payload store, beside the inline form
	$(BIN)/python benchmarks/payload.py

bench-watchdog: $(VENV)/.stamp-program ## the watchdog's plans on simulated clusters, beside upstream's rule and fixed splits
	$(BIN)/python benchmarks/watchdog.py

bench-growth: $(VENV)/.stamp-test ## what a page costs as there is more of everything; ONLY=workers,queue:100000 QUICK=1
	$(BIN)/python benchmarks/growth.py $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick) --plot docs/images/growth.svg

bench-queues: $(VENV)/.stamp-test ## what a message costs RabbitMQ in classic and quorum queues, on one node and three
	PYTHONPATH=tests $(BIN)/python benchmarks/queues.py

bench-scale: $(VENV)/.stamp-program ## 1,000 GPU workers and a billion pages: what each part of a cluster has to do then
	$(BIN)/python benchmarks/scale.py

bench-bulk: $(VENV)/.stamp-test ## time and memory of publishing and downloading 20,000 pages
	$(BIN)/python benchmarks/bulk.py

bench-durability: $(VENV)/.stamp-test ## what it costs that results survive a power cut
	$(BIN)/python benchmarks/durability.py

chaos: $(VENV)/.stamp-test ## 5,000 pages under 200 faults, 1,500 through a gateway under 36; SEED=N repeats one
	$(BIN)/python tests/faults/chaos.py $(if $(SEED),--seed $(SEED))
	$(BIN)/python tests/faults/chaos_gateway.py $(if $(SEED),--seed $(SEED))

bundle: ## wheels and models for machines without internet, in build/bundle
	scripts/bundle.sh build/bundle

check-bundle: $(DEMO)/.stamp-scans ## install build/bundle where there is no network, as root, and read a page
	test -d build/bundle || scripts/bundle.sh build/bundle
	scripts/check-bundle.sh build/bundle $(DEMO)/scans/typewriter.png

check-containers: $(DEMO)/.stamp-scans ## build the container image without Docker, as root, and read a page in it (10 GB)
	scripts/check-containers.sh build/containers

check-upgrade: $(VENV)/.stamp-test ## parts of an earlier version, whose src folder is PREVIOUS, beside this one's
	@test -d "$(PREVIOUS)" || { echo 'say PREVIOUS=/path/to/an/earlier/checkout/src' >&2; exit 2; }
	PERO_WORKER_PREVIOUS=$(abspath $(PREVIOUS)) $(BIN)/python -m pytest -q -n 0 tests/cluster/test_upgrade.py

bench-gateway: $(VENV)/.stamp-test ## a gateway under 1, 10 and 100 clients, a large upload, 1,000 event streams
	$(BIN)/python benchmarks/gateway_load.py

bench-web: $(VENV)/.stamp-test ## what the gateway's pages weigh, and how soon something is seen
	PYTHONPATH=tests $(BIN)/python benchmarks/web_pages.py

bench-away: $(VENV)/.stamp-test ## what a cluster costs while a server is away, and how soon it ends
	$(BIN)/python benchmarks/away.py

fuzz: $(VENV)/.stamp-test ## 170,000 hostile inputs, 2,000 new cases for each property of the unit tests, then coverage-guided ones
	PERO_WORKER_FUZZ=20000 $(BIN)/python -m pytest -n 2 -q tests/fuzz
	PERO_WORKER_FUZZ=2000 $(BIN)/python -m pytest -n 2 -q tests/unit -m hypothesis
	$(BIN)/pip install -qq atheris
	for target in message page archive logits image tiff value; do \
		$(BIN)/python tests/fuzz/guided.py $$target -max_total_time=$(SECONDS_A_TARGET) -verbosity=0 || exit 1; done

mutants: $(VENV)/.stamp-test ## wrong lines in the most dangerous modules that no unit test notices (hours)
	$(BIN)/pip install -qq 'mutmut>=3.8,<4'
	$(BIN)/python tests/mutants.py

clean: ## remove the environment, everything built and demo-out/
	rm -rf $(VENV) build demo-out .pytest_cache .mypy_cache .ruff_cache .hypothesis

# -- the environment ------------------------------------------------------------------------------------------

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || scripts/apt-install.sh python3-venv
	$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.stamp-program: pyproject.toml | $(BIN)/pip
	@echo 'installing the program: some 2 GB, a few minutes'
	$(PIP_INSTALL) -e '.[pero,train,rapidocr,servers,gateway]'
	@$(CHECK_ENV)
	@touch $@

# OCR-D/core pins much; it has an environment of its own, with a light engine.
build/ocrd-venv: build/ocrd-venv/.stamp ## OCR-D/core with our processor, for tests

build/ocrd-venv/.stamp: pyproject.toml
	$(PYTHON) -m venv --clear build/ocrd-venv
	@echo "installing OCR-D/core: some 600 MB"
	build/ocrd-venv/bin/pip install -qq --no-compile -e '.[ocrd,rapidocr]'
	@touch $@

$(VENV)/.stamp-test: pyproject.toml build/ocrd-venv/.stamp | $(BIN)/pip
	scripts/apt-install.sh --unpack build/prometheus prometheus
	scripts/apt-install.sh chromium fonts-dejavu-core mmdebstrap mupdf-tools poppler-utils postgresql rabbitmq-server systemd zookeeper
	@echo 'installing the program and what its tests need: some 2 GB, a few minutes'
	$(PIP_INSTALL) -e '.[pero,train,rapidocr,servers,gateway,test]'
	@$(CHECK_ENV)
	@touch $(VENV)/.stamp-program $@

# -- the demo's pages: five real scans, two drawn pages ---------------------------------------------------------

$(DEMO)/.stamp-scans: demo/requirements-scans.txt demo/scans.py | $(VENV)/.stamp-program
	rm -rf $(DEMO)/sdist
	$(BIN)/pip download --quiet --no-deps --no-binary ocrmypdf --require-hashes -d $(DEMO)/sdist -r demo/requirements-scans.txt
	$(BIN)/python demo/scans.py $(DEMO)/sdist $(DEMO)/scans
	@touch $@

$(DEMO)/.stamp-drawn: demo/draw.py $(wildcard demo/text/*) | $(VENV)/.stamp-program
	scripts/apt-install.sh --unpack $(DEMO)/fonts fonts-blankenburg fonts-oldstandard
	$(BIN)/python demo/draw.py $(DEMO)/fonts $(DEMO)/scans $(DEMO)/truth
	@touch $@
