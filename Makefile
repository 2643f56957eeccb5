# The Model Adaptation Lab. `make lab` runs the whole ladder live; `make` alone lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# Any of these can be given on the command line: make lab PYTHON=python3.11 LAB_DOCUMENT=my-rules.md
PYTHON ?= python3 python3.12 python3.11
VENV ?= .venv
VENV_DEMO ?= .venv-demo
# Where PyTorch's CPU build comes from on Linux without a GPU.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
LAB_PROFILE ?= mini
UV ?= uv
# More options for pytest, for the runner and for the benchmarks: make test PYTEST="-k runner"
PYTEST =
RUN =
BENCH =
GPU_CHECK =
SITE =
# What JupyterLab does in `make e2e`: prebuilt replays the notebooks, live computes them.
E2E ?= prebuilt

# The first Python of the list that is 3.11 or 3.12; it is run, because a name on the PATH may be a stub.
define pick_python
for p in $(PYTHON); do \
  if "$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' >/dev/null 2>&1; then py="$$p"; break; fi; \
done; \
if [ -z "$$py" ]; then \
  echo "The lab needs Python 3.11 or 3.12, and none of '$(PYTHON)' is one: install it, or name it with PYTHON=/path/to/python3.12." >&2; \
  exit 2; \
fi
endef

.PHONY: help lab lab-full test e2e demo site jupyter lint bench gpu-check clean env env-test env-demo requirements

help: ## List these targets.
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/make \1:  \2/'

env:
	@$(pick_python); "$$py" -P adaptlab/setup_env.py --venv "$(VENV)" --torch-index "$(TORCH_INDEX)"

env-test:
	@$(pick_python); "$$py" -P adaptlab/setup_env.py --venv "$(VENV)" --torch-index "$(TORCH_INDEX)" \
	  --also requirements-eval.txt

env-demo:
	@$(pick_python); "$$py" -P adaptlab/setup_env.py --venv "$(VENV_DEMO)" --requirements requirements-demo.txt --no-torch

lab: env ## Run the six notebooks in order, live, on this machine; ends with a table and a report.
	@"$(VENV)/bin/python" -m adaptlab.runner --profile "$(LAB_PROFILE)" --mode live $(RUN)

lab-full: env ## As `make lab`, and the long notebooks live too, which it else replays.
	@"$(VENV)/bin/python" -m adaptlab.runner --profile "$(LAB_PROFILE)" --mode live --full $(RUN)

demo: env-demo ## Replay all notebooks from the prebuilt results, without PyTorch.
	@"$(VENV_DEMO)/bin/python" -m adaptlab.runner --profile "$(LAB_PROFILE)" --mode prebuilt $(RUN)

test: env-test ## Run every test.
	@"$(VENV)/bin/python" -m pytest -n auto --dist loadfile --no-loadscope-reorder $(PYTEST)

e2e: env ## Click through the site and JupyterLab in headless Chromium (E2E=live computes the notebooks).
	@$(pick_python); "$$py" -P adaptlab/setup_env.py --venv "$(VENV)" --torch-index "$(TORCH_INDEX)" \
	  --also requirements-e2e.txt
	@E2E="$(E2E)" E2E_SHOTS="$(CURDIR)/outputs/e2e" "$(VENV)/bin/python" -m pytest $(PYTEST) \
	  tests/test_e2e_pages.py tests/test_e2e_jupyterlab.py
	@echo "screenshots: outputs/e2e"

site: env ## Write the notebooks and documents as pages that open from disk (SITE="--out DIR").
	@"$(VENV)/bin/python" -m adaptlab site --profile "$(LAB_PROFILE)" $(SITE)

jupyter: env ## Open the notebooks in JupyterLab.
	@LAB_PROFILE="$(LAB_PROFILE)" "$(VENV)/bin/python" -m jupyterlab --ServerApp.root_dir="$(CURDIR)"

lint: env ## Check style and types.
	@"$(VENV)/bin/python" -m ruff check .
	@"$(VENV)/bin/python" -m mypy

bench: env ## Measure installation, lab, demo and tests against their budgets (BENCH=--quick for less).
	@"$(VENV)/bin/python" benchmarks/run.py $(BENCH)

gpu-check: env ## Measure QLoRA and sampling at true sizes on this machine's NVIDIA GPU (GPU_CHECK=--only=... for less).
	@"$(VENV)/bin/python" benchmarks/gpu_check.py $(GPU_CHECK)

# Needs uv; the nvidia, cuda and triton lines come with PyTorch and are left to it.
requirements: ## Compile the pinned requirements again from the .in files.
	@$(UV) pip compile --quiet --universal --python-version 3.11 --no-emit-package torch --no-header --no-annotate \
	  requirements.in | sed -E '/^(nvidia-|cuda-|triton==)/d' > requirements.txt.part
	@mv requirements.txt.part requirements.txt
	@$(UV) pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
	  --constraint requirements.txt requirements-demo.in > requirements-demo.txt.part
	@mv requirements-demo.txt.part requirements-demo.txt
	@$(UV) pip compile --quiet --universal --python-version 3.11 --no-emit-package torch --no-header --no-annotate \
	  --constraint requirements.txt requirements-eval.in | grep -vxFf requirements.txt > requirements-eval.txt.part
	@mv requirements-eval.txt.part requirements-eval.txt
	@$(UV) pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
	  --constraint requirements.txt requirements-e2e.in | grep -vxFf requirements.txt > requirements-e2e.txt.part
	@mv requirements-e2e.txt.part requirements-e2e.txt
	@$(UV) pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
	  --constraint requirements.txt requirements-train.in > requirements-train.txt.part
	@mv requirements-train.txt.part requirements-train.txt
	@for name in gpu unsloth; do \
	  $(UV) pip compile --quiet --universal --python-version 3.12 --no-emit-package torch --no-emit-package torchvision \
	    --no-header --no-annotate "requirements-$$name.in" | sed -E '/^(nvidia-|cuda-|triton==)/d' > "requirements-$$name.txt.part"; \
	  mv "requirements-$$name.txt.part" "requirements-$$name.txt"; done

clean: ## Remove the environments and caches; results in outputs/ stay.
	@for venv in "$(VENV)" "$(VENV_DEMO)"; do \
	  if [ -e "$$venv/lab-owned" ]; then rm -rf "$$venv" "$$venv.lock"; \
	  elif [ -e "$$venv" ]; then echo "$$venv was not made by this Makefile; it stays." >&2; fi; done
	@rm -rf .pytest_cache .mypy_cache .ruff_cache build *.egg-info
	@find adaptlab tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
