# `make demo` and `make test` do everything on a fresh machine with Python 3.11 and the package registries in reach.
PYTHON ?= python3.11
CORES ?= all
VENV := .venv
SNAKEMAKE := $(VENV)/bin/snakemake --profile profiles/local --cores $(CORES)

.PHONY: demo test lint bench report revisions clean

demo: $(VENV)/.installed
	$(SNAKEMAKE)
	@mkdir -p results/demo/report
	$(SNAKEMAKE) --report results/demo/report/index.html > results/demo/report.log 2>&1 \
		|| { cat results/demo/report.log; exit 1; }
	@echo
	@cat results/demo/tables/dcls.md
	@echo
	@echo "table    results/demo/tables/dcls.{csv,md,tex,html}"
	@echo "figures  results/demo/figures/*.png (and .pdf)"
	@echo "report   results/demo/report/index.html"

test: $(VENV)/.installed
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/snakefmt --check Snakefile workflow
	$(VENV)/bin/snakemake --lint

bench: $(VENV)/.installed
	$(VENV)/bin/python -m benchmarks.run

# After a change of code: which results it leaves as they are, and which it makes anew.
revisions: $(VENV)/.installed
	$(VENV)/bin/python -m tests.golden $(REVISIONS_ARGS)

report: $(VENV)/.installed
	@mkdir -p results/demo/report
	$(SNAKEMAKE) --report results/demo/report/index.html

clean:
	rm -rf results/* .snakemake
	git checkout -- results/README.md

# The stamp is younger than the lock file, or the environment is made anew.
$(VENV)/.installed: requirements.lock
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
	@touch $@
