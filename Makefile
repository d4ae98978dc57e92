# Every command of the project. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
AUDIT_VERSION := 2.10.1
AUDIT := .venv/audit/bin/pip-audit
RUN_LOCKS := requirements.txt requirements-embedded.txt
DEV_LOCKS := $(RUN_LOCKS) requirements-tracing.txt requirements-dev.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo run test faults explore soak check bench format docs lock audit openapi lint-openapi

help:  ## what there is to do
	@printf '\n\033[1mJoyfull Hub\033[0m\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  \033[36mmake %-12s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\n'

install: $(VENV)/.dev  ## all that the other commands need, into .venv (quick when up to date)

demo: $(VENV)/.run  ## the whole platform on real input, in about a minute; KEEP=1 stays up afterwards
	@$(BIN)/python -m dev.demo

run: $(VENV)/.run  ## the whole platform, staying up: web, workers, beat, Flower, example tools
	@$(BIN)/python -m dev.run

test: $(VENV)/.dev  ## the whole test suite, on private servers; ARGS="-k name" is handed to pytest
	@status=0; \
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m 'not platform' $(ARGS) || [ $$? = 5 ] || status=1; \
	$(BIN)/python -m pytest -m platform $(ARGS) || [ $$? = 5 ] || status=1; \
	exit $$status

faults: $(VENV)/.dev  ## break every part under load, check every invariant, write docs/faults.md (about an hour); ONLY=F03,F37
	@$(BIN)/python -m tools.faults faults $(if $(ONLY),--only $(ONLY)) $(ARGS)
	@$(if $(ONLY)$(ARGS),,$(MAKE) explore)

explore: $(VENV)/.dev  ## every fault at every exchange of every verb beside every other; EXPLORE_SEED=7
	@seed=$(or $(EXPLORE_SEED),$(shell date +%s)); echo "EXPLORE_SEED=$$seed"; \
	EXPLORE=$(or $(EXPLORE),all) EXPLORE_PAIRS=$(or $(EXPLORE_PAIRS),3000) EXPLORE_SEED=$$seed \
		$(BIN)/python -m pytest tests/explorer -n $(JOBS) $(ARGS)

soak: $(VENV)/.dev  ## constant load and random faults for SOAK_MINUTES (60), or ARGS="--invocations 100000"
	@$(BIN)/python -m tools.faults soak $(ARGS)

check: $(VENV)/.dev  ## the gate beside the tests: format, lint, types, layers, dead code, dependencies, migrations
	@$(BIN)/python -m dev.check

bench: $(VENV)/.dev  ## how fast it is beside the least that could do it, in half an hour; ONLY=P2 measures one goal
	@ONLY="$(ONLY)" $(BIN)/python -m tools.bench

format: $(VENV)/.dev  ## put the code into its one form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(VENV)/.dev  ## the documentation site, into var/site; broken links and pages that no menu shows fail
	@$(BIN)/properdocs build --quiet --strict && echo 'open var/site/index.html'

openapi: $(VENV)/.run  ## write docs/openapi.json anew, after a change to the API
	@ENV=development PUBLIC_URL=http://localhost:8000 $(BIN)/flask --app wsgi openapi write docs/openapi.json

lint-openapi:  ## have Redocly look at docs/openapi.json (needs Node; npx fetches it)
	@npx --yes @redocly/cli@2 lint --config docs/redocly.yaml docs/openapi.json

lock: $(VENV)/.dev  ## write requirements*.txt from requirements*.in; ARGS=--upgrade takes newer versions
	@$(BIN)/pip install --quiet uv==0.13.9
	@for name in requirements requirements-embedded requirements-tracing requirements-dev; do \
		UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
			--generate-hashes --no-emit-index-url --no-emit-find-links $(ARGS) $$name.in -o $$name.txt > /dev/null \
		|| exit 1; \
	done

audit: $(VENV)/.run  ## known vulnerabilities of the locked packages (asks vulnerability databases over the network)
	@test -x $(AUDIT) || { $(PYTHON) -m venv $(VENV)/audit && \
		$(VENV)/audit/bin/pip install --quiet --disable-pip-version-check pip-audit==$(AUDIT_VERSION); } || \
		{ echo 'pip-audit cannot be installed: the package index cannot be reached'; exit 1; }
	@$(BIN)/python -c 'import requests; requests.get("https://pypi.org/pypi/pip/json", timeout=10).raise_for_status()' \
		2> /dev/null || { echo 'nothing was audited: https://pypi.org, which knows the vulnerabilities, cannot be reached'; exit 1; }
	@status=0; for lock in $(DEV_LOCKS); do \
		echo "$$lock:"; $(AUDIT) --disable-pip --require-hashes --strict --progress-spinner off -r $$lock || status=1; \
	done; [ $$status = 0 ] || echo 'vulnerable, or (where it says "not found") not audited: this index knows no vulnerabilities'; \
	exit $$status

# -- installation: two stamps, so that running needs none of the developer's tools ---------------------------

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(RUN_LOCKS) | $(BIN)/pip
	@echo 'installing what running needs ...'
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes $(addprefix -r ,$(RUN_LOCKS))
	@touch $@

$(VENV)/.dev: $(DEV_LOCKS) | $(BIN)/pip
	@echo 'installing what running, testing and checking need ...'
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes $(addprefix -r ,$(DEV_LOCKS))
	@touch $@ $(VENV)/.run
