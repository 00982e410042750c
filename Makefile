# `make demo` and `make test` do everything on a fresh machine with Python 3.11 and the package registries in reach.
PYTHON ?= python3.11
CORES ?= all
VENV := .venv
# The installed command, by the module: a repository that was moved or copied has its own.
CAMSTUDY := $(VENV)/bin/python -m camstudy.cli

# Both cores for tests, which start what needs one core each. Whole files go to a worker, as fixtures of a file run a study.
PYTEST := $(VENV)/bin/python -m pytest
SIDE_BY_SIDE := -n 2 --dist loadfile

# A study's file, or the name of one that ships: `make study STUDY=opticam_demo`.
STUDY ?= config/config.yaml
# Options of Snakemake, and of the study: `make study STUDY=mine.yaml ARGS="--config device=cpu"`.
ARGS ?=

.PHONY: demo photographs study plan verify records test test-all test-rest test-slow lint bench report revisions clean

demo: $(VENV)/.installed
	@$(CAMSTUDY) run --cores $(CORES)
	@$(CAMSTUDY) report
	@echo
	@cat results/studies/demo/tables/dcls.md
	@echo
	@echo "table    results/studies/demo/tables/dcls.{csv,md,tex,html}"
	@echo "figures  results/studies/demo/figures/*.png (and .pdf)"
	@echo "report   results/studies/demo/report/index.html"

# A network trained on ImageNet on real photographs, which come with packages; then on yours: `make photographs PHOTOS=dir`.
photographs: $(VENV)/.installed
	@$(CAMSTUDY) run photographs --cores $(CORES)
ifdef PHOTOS
	@PHOTOS="$(PHOTOS)" $(CAMSTUDY) run photographs --cores $(CORES) --config study=own_photographs dataset=own_photographs $(ARGS)
endif

study: $(VENV)/.installed
	@$(CAMSTUDY) run $(STUDY) --cores $(CORES) $(ARGS)

plan: $(VENV)/.installed
	@$(CAMSTUDY) plan $(STUDY) $(ARGS)

verify: $(VENV)/.installed
	@$(CAMSTUDY) verify $(STUDY)

report: $(VENV)/.installed
	@$(CAMSTUDY) report $(STUDY) $(ARGS)

# The tiers of tests: see docs/contributing.md.
test: $(VENV)/.installed
	$(PYTEST) -m quick $(SIDE_BY_SIDE) $(PYTEST_ARGS)

test-all: test test-rest

# Files of tests in their order: otherwise those of the fewest come last, which are long, and one process waits.
test-rest: $(VENV)/.installed
	$(PYTEST) -m full --ignore tests/cluster $(SIDE_BY_SIDE) --no-loadscope-reorder $(PYTEST_ARGS)
	$(PYTEST) -m full tests/cluster $(PYTEST_ARGS)

test-slow: $(VENV)/.installed
	$(PYTEST) -m slow $(PYTEST_ARGS)

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/snakefmt --check Snakefile workflow
	$(VENV)/bin/snakemake --lint

bench: $(VENV)/.installed
	$(VENV)/bin/python -m benchmarks.run

# After a change of code: which results it leaves as they are, and which it makes anew.
revisions: $(VENV)/.installed
	$(VENV)/bin/python -m tests.golden $(REVISIONS_ARGS)

# Accepts finished results that Snakemake has no record of, as in a clone that is linked to them.
records: $(VENV)/.installed
	@CAMSTUDY_ACCEPTING_RECORDS=1 $(CAMSTUDY) run $(STUDY) --cores 1 records

# But for the map of the folder, and how fast jobs were, from which plans are made.
clean:
	find results/ -mindepth 1 -maxdepth 1 ! -name '.*' ! -name README.md ! -name speed.json -exec rm -rf {} +
	rm -rf .snakemake

# The stamp is younger than the lock file, or the environment is made anew.
$(VENV)/.installed: requirements.lock
	@echo "installing the libraries into $(VENV): about three minutes and 6 GB"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
	@# Without isolation, which would fetch setuptools once more: it is there, as torch needs it.
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
