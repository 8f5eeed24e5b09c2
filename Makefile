# Everything from a machine that has only Python, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Each worker's linear algebra on one thread: more get in each other's way.
ONE_THREAD := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: check check-all test heavy lint figures docs note release-check constraints clean

check: $(VENV)/.installed  ## install, then check the claims of paper_claims.yaml: a minute
	$(BIN)/linreg-lora check

check-all: $(VENV)/.installed  ## the same for the claims of every paper: some minutes
	$(BIN)/linreg-lora check --all

test: $(VENV)/.installed-dev  ## install the dev extra, then run the tests, but for those of `heavy`
	$(ONE_THREAD) $(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m 'not heavy'

heavy: $(VENV)/.installed-dev  ## the rest: all ugly problems, more sweeps that are killed or starved, and more planted bugs; half an hour
	$(ONE_THREAD) $(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m heavy --jaxtyping-packages=linreg_lora.estimators,linreg_lora.sampling,linreg_lora.simulation,linreg_lora.risk_curve,linreg_lora.theory,type_checker.checked

lint: $(VENV)/.installed-dev  ## what pre-commit runs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

figures: $(VENV)/.installed  ## redraw figures/
	$(BIN)/linreg-lora figures --out figures

# NOTEBOOKS=0 does not run them; REPORT=0 leaves the claims report out, REPORT=1 makes it of all papers.
docs: $(VENV)/.installed-docs  ## build the site into site/, strictly; what notebooks and commands print is kept in .cache/
	$(ONE_THREAD) NO_MKDOCS_2_WARNING=1 LINREG_LORA_SITE_NOTEBOOKS=$(NOTEBOOKS) LINREG_LORA_SITE_REPORT=$(REPORT) $(BIN)/python -m mkdocs build --strict --quiet

release-check: $(VENV)/.installed-dev  ## all that has to hold before a release, from a clean checkout; half an hour
	$(PIP) --editable '.[dev,release]'
	.ci/release-check

note: $(VENV)/.installed-note  ## compile docs/note/note.pdf
	cd docs && ../$(BIN)/python -m note.build

constraints:  ## pin what a fresh install of all extras but `peft` gives today
	rm -rf $(VENV)-constraints && $(PYTHON) -m venv $(VENV)-constraints
	$(VENV)-constraints/bin/python -m pip install --quiet --disable-pip-version-check '.[dev,notebooks,release]'
	$(VENV)-constraints/bin/python -m pip freeze --exclude linreg-lora > constraints.txt
	rm -rf $(VENV)-constraints

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[train]'
	touch $@

$(VENV)/.installed-note: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[train,note]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) build dist site .cache
