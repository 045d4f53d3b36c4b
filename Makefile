# Every target makes the virtual environment by itself.
PYTHON ?= python3
PY := .venv/bin/python
STAMP := .venv/.installed

.PHONY: help demo test lint bench clean
help:
	@echo "make demo   install, make simulated strokes, train shortly, predict, score, write a page (about ten minutes)"
	@echo "make test   install and run the tests"
	@echo "make lint   check the style"
	@echo "make bench  measure speed against named references"

$(STAMP): requirements.lock setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --upgrade pip setuptools wheel
	$(PY) -m pip install --quiet -r requirements.lock
	$(PY) -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: $(STAMP)
	$(PY) tools/demo.py --out demo

test: $(STAMP)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) -m pytest -n 2

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

bench: $(STAMP)
	@for script in benchmarks/*.py; do echo "== $$script"; $(PY) $$script || exit 1; done

clean:
	rm -rf .venv demo runs data
