# Every target sets up what it needs: a virtual environment with pinned versions, made once.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Test files run side by side in so many processes; 0 for one process, which lets a debugger in.
TEST_PROCESSES ?= 2
READY := $(VENV)/.ready
export DAGSTER_HOME ?= $(CURDIR)/.dagster_home
export DAGSTER_DISABLE_TELEMETRY = yes

# The sample domain, unless you point somewhere else (see README, "Your own documents").
SAMPLE_ENV := $(if $(DOMAIN_EMBED_CORPUS_PATH),,DOMAIN_EMBED_CORPUS_PATH=data/corpus DOMAIN_EMBED_QUERIES_PATH=data/queries)

.PHONY: help demo test check docs test-slow bench ui screenshots clean

help:
	@echo "make demo       sample documents to a served index, with the verdict (about 10 minutes on 2 cores)"
	@echo "make ui         the Dagster web UI and daemon on http://localhost:3000"
	@echo "make test       the test suite without the slow tests"
	@echo "make check      lint, format, types, and the documentation site with every warning an error"
	@echo "make docs       the documentation site, in build/docs"
	@echo "make test-slow  everything that is too slow for make test"
	@echo "make screenshots  the pictures of the README, made by the browser test"
	@echo "make bench      BEIR_DIR=... [QUESTIONS=...]: recipes side by side"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "torch"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[ui,minilm,lora,postgres,tensorboard,dev,dev-frameworks,dev-s3,deploy,docs]"
	touch $@

demo: $(READY)
	$(SAMPLE_ENV) $(BIN)/domain-embed questions import data/questions.jsonl --generator recorded-sample
	$(SAMPLE_ENV) $(BIN)/domain-embed run --profile demo

test: $(READY)
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile $(PYTEST_ARGS)

test-slow: $(READY)
	$(BIN)/python -m pytest -m "slow or postgres or browser"

check: $(READY) docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: $(READY)
	$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs

ui: $(READY)
	mkdir -p "$(DAGSTER_HOME)"
	if [ "$(DAGSTER_HOME)" = "$(CURDIR)/.dagster_home" ] || [ ! -e "$(DAGSTER_HOME)/dagster.yaml" ]; then \
	  cp dagster.yaml "$(DAGSTER_HOME)/dagster.yaml"; fi
	$(BIN)/domain-embed clean-up
	$(SAMPLE_ENV) $(BIN)/dagster dev -w workspace.yaml

screenshots: $(READY)
	mkdir -p docs/screenshots
	DOMAIN_EMBED_TEST_SCREENSHOTS=docs/screenshots $(BIN)/python -m pytest -m browser domain_embed_pipeline_tests/test_web_ui.py

bench: $(READY)
	$(BIN)/domain-embed bench "$(BEIR_DIR)" $(if $(QUESTIONS),--questions "$(QUESTIONS)")

clean:
	rm -rf $(VENV) .dagster_home build data/artifacts
