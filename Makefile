# Two commands are the whole set-up: `make demo` and `make test`. `make` alone lists all of them.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
FUZZER := .venv/fuzzer-installed
SECONDS ?= 600
DATA ?= ../shared/data/dicom
OHIF := 3.13.2
VIEWER := .viewer/ohif-$(OHIF)
ROUNDS ?= 20
DATABASE ?= sqlite

.PHONY: help demo test check bench chaos fuzz sweep viewers clean

help: ## list the targets, a line each
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(INSTALLED): pyproject.toml deploy/constraints.txt
	@echo "Installing into .venv: about 6 GB, most of it torch; minutes, depending on the network."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --progress-bar on --disable-pip-version-check --constraint deploy/constraints.txt \
		--editable '.[analysis,postgresql,dev]'
	touch $@

demo: $(INSTALLED) ## the whole node on two synthetic head CTs, against a stand-in PACS
	$(BIN)/ich-node demo $(ARGS)

test: check ## lint, types, import rules, then every test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(INSTALLED) ## format, lint, types and import rules
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(INSTALLED) ## speed against peers and limits measured in the same run; the last line is JSON
	PYTHONPATH=tests $(BIN)/python -m benchmarks

chaos: $(INSTALLED) ## kill -9 at random moments, ROUNDS=20, DATABASE=sqlite or postgresql; the last line is JSON
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m chaos --rounds $(ROUNDS) --database $(DATABASE) $(ARGS)

$(FUZZER): $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint deploy/constraints.txt --editable '.[fuzz]'
	touch $@

fuzz: $(FUZZER) ## mutated files and series against header reading and assembling, for SECONDS=600
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(SECONDS) $(ARGS)

sweep: $(INSTALLED) ## the files below DATA=DIR and built hostile ones through a real node; the last line is JSON
	PYTHONPATH=tests $(BIN)/python -m sweep $(DATA) $(ARGS)

$(VIEWER):
	mkdir -p .viewer
	npm pack --silent --pack-destination .viewer @ohif/app@$(OHIF)
	tar -xzf .viewer/ohif-app-$(OHIF).tgz -C .viewer
	mv .viewer/package $@

viewers: $(INSTALLED) $(VIEWER) ## what OHIF shows of our reports, in Chromium before Orthanc; KEEP=DIR keeps screenshots
	OMP_NUM_THREADS=1 ICH_VIEWERS_KEEP=$(KEEP) $(BIN)/python -m pytest tests/viewers $(ARGS)

clean: ## remove what was installed and built
	rm -rf .venv .viewer build dist out .mypy_cache .ruff_cache .pytest_cache .hypothesis
