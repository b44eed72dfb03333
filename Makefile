# Every verb sets up what it needs. PYTHON names the interpreter (3.11 or newer), VENV where packages go.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TRAINING := $(VENV)/.installed-train
# What the demo needs; where everything is installed, that.
ENOUGH := $(if $(wildcard $(STAMP)),$(STAMP),$(TRAINING))

.PHONY: help install lock demo app commands test test-slow lint types style docs bench clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(STAMP)  ## Create the virtual environment and install the project with the tested versions

$(STAMP) $(TRAINING): pyproject.toml requirements.lock
	@echo "a virtual environment in $(VENV), with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python .ci/install.py --extra $(if $(filter $@,$(STAMP)),dev,train)
	@touch $@

lock: $(STAMP)  ## Renew requirements.lock after a change of pyproject.toml; UPGRADE="numpy scipy" for new versions
	$(BIN)/python .ci/lock.py $(if $(UPGRADE),--upgrade $(UPGRADE))

demo: $(ENOUGH)  ## Simulate, pre-train, fine-tune, compare and draw, in about four minutes on two cores
	@PATH="$(abspath $(BIN)):$$PATH" bash examples/demo/run.sh build/demo

# One ECG is too little work for several threads, which on a busy machine wait for each other.
app: $(STAMP)  ## Serve the page on this machine, with the models in pretrained/ (simulated ECGs; not a medical device)
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python app.py

commands: $(STAMP)  ## Renew docs/commands.md after a change of a command's arguments
	$(BIN)/python .ci/commands_page.py

test: $(STAMP)  ## Run the tests that need neither network nor accelerator, a file of them on each core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

test-slow: $(STAMP)  ## Run the tests that take minutes; fetches transformers' own tests of models from PyPI
	$(BIN)/python -m tests.transformers_common.upstream
	$(BIN)/python -m pytest -m slow

lint: $(STAMP)  ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## Check types: each package has no more errors than .ci/types_budget.json allows
	$(BIN)/python .ci/check_types.py

style: $(STAMP)  ## Fix style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)  ## Build the documents as a site, in build/site; fails on a dead link
	$(BIN)/python .ci/docs.py

bench: $(STAMP)  ## Run the benchmarks, each ending in one line of JSON
	@for script in benchmarks/*/run.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

clean:  ## Remove what was built, the virtual environment too
	rm -rf build dist *.egg-info $(VENV) .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
