# Each target installs what it needs into .venv by itself: a machine with Python 3.11 and make is enough.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Python compiles what is imported; most of what is installed never is. It keeps what it compiled, whatever a machine
# has set, or each of the processes of a test would compile all of it again.
export PYTHONDONTWRITEBYTECODE =
PIP_INSTALL := $(BIN)/python -m pip install -q --no-input --disable-pip-version-check --prefer-binary --no-compile \
	-c constraints.txt

DEMO_MODELS = popularity,itemknn,ease,mf,neumf,slit,sasrec,gru4rec,ancf,ancf-ordered

SERVED = checkpoints/demo/ancf-ordered/0

.PHONY: help demo serve test check format clean
help:  ## Print the targets (what make alone does)
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/installed-report  ## Train and compare DEMO_MODELS on ml-100k; results in checkpoints/demo
	$(BIN)/python -m experiments.compare --dataset=ml-100k --models=$(DEMO_MODELS) --workdir=checkpoints/demo

serve: .venv/installed-serve  ## Serve ANCF of the demo, which is trained first, at http://127.0.0.1:8000/
	@test -f $(SERVED)/result.json || $(MAKE) demo
	$(BIN)/python -m experiments.serve --workdir=$(SERVED) --feedback=checkpoints/demo/feedback.db

test: .venv/installed-test  ## Run the tests on the CPU
	$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

check: .venv/installed-check  ## Check format, style, types, and what is known of the dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@$(BIN)/pip-audit --skip-editable --progress-spinner=off --timeout=10 > .venv/audit 2>&1 \
		|| ! grep -q "known vulnerabilit" .venv/audit || { cat .venv/audit; exit 1; }
	@! grep -qi "could not be audited\|error" .venv/audit \
		|| echo "note: pip-audit does not reach the data of all dependencies: .venv/audit says of which"

format: .venv/installed-check  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Remove .venv and caches; runs in checkpoints/ stay
	rm -rf .venv .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build *.egg-info

.venv/bin/python:
	$(PYTHON) -m venv .venv

# The stamps make installation happen once, until the dependencies change.
.venv/installed-report: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP_INSTALL) -e '.[report]'
	@touch $@

.venv/installed-serve: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP_INSTALL) -e '.[report,serve]'
	@touch $@ .venv/installed-report

.venv/installed-test: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP_INSTALL) -e '.[report,serve,test]'
	@touch $@ .venv/installed-report .venv/installed-serve

.venv/installed-check: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP_INSTALL) -e '.[report,serve,test,check]'
	@touch $@ .venv/installed-report .venv/installed-serve .venv/installed-test
