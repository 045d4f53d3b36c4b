# Every target makes the virtual environment by itself.
PYTHON ?= python3
PY := .venv/bin/python
STAMP := .venv/.installed

.PHONY: help demo test long lint docs bench fuzz reliability weights clean
help:
	@echo "make demo   install, make simulated strokes, train shortly, predict, score, write a page (about ten minutes)"
	@echo "make test   install and run the tests"
	@echo "make long   run the tests that train and predict end to end, which make test leaves out"
	@echo "make lint   check style and types"
	@echo "make docs   build the pages with the Python API into docs/_build; a warning is an error"
	@echo "make bench  measure speed against named references, write the tables of docs/performance.md"
	@echo "make fuzz   send 11 000 damaged images through check and predict --dry-run (about five minutes)"
	@echo "make reliability  run the list of 98 bad inputs, faults and attacks, and write docs/reliability.md"
	@echo "make weights BUNDLE=clerigues  simulate, train to the stopping rule, calibrate, score, write the card (hours; goes on where it stopped)"

$(STAMP): requirements.lock setup.cfg setup.py pyproject.toml
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --upgrade pip setuptools wheel
	$(PY) -m pip install --quiet -r requirements.lock
	$(PY) -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: $(STAMP)
	$(PY) tools/demo.py --out demo

test: $(STAMP)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist worksteal -m "not long"

long: $(STAMP)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist worksteal -m long

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

docs: $(STAMP)
	$(PY) -m pip install --quiet --no-build-isolation -e ".[docs]"
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build

bench: $(STAMP)
	@for script in $(filter-out benchmarks/bench.py,$(wildcard benchmarks/*.py)); do \
		echo "== $$script"; $(PY) $$script || exit 1; done
	$(PY) docs/make/performance_table.py

fuzz: $(STAMP)
	OMP_NUM_THREADS=1 $(PY) -W ignore -m tests.fuzz.run --page docs/fuzzing.md

reliability: $(STAMP)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) -m tests.reliability.run

weights: $(STAMP)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) tools/weights.py $(BUNDLE) --out runs/weights/$(BUNDLE)

clean:
	rm -rf .venv demo runs data
