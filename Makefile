# Each target sets up what it needs. `make demo` and `make test` are all that a newcomer has to know.
#
#   make demo       the sample handbook becomes an expert; prints the exam table (under 5 minutes on 2 cores)
#   make test       the test suite
#   make check      format, lint, types, floors
#   make docs       the documentation, into docs/_build/html
#   make notebooks  the notebooks, run from a clean kernel; `make docs` shows what came out
#   make wheel      wheel and sdist, built into dist/ and used as a stranger would
#   make coverage   the test suite, and which lines it runs
#   make proof      what takes longer: three seeds, the whole sample, the tables of docs/proof.md
#
# On an ordinary machine pip picks the CUDA build of torch, several gigabytes. For the small CPU build:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test check wheel docs notebooks coverage format proof clean

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "text2expert needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[train,vast,report,documents,docs,dev]"
	@touch $@

demo: $(INSTALLED)
	$(BIN)/text2expert run --input text2expert/samples/respiratory_protocol.txt \
	  --exam text2expert/samples/exam.jsonl --out expert_model_demo --yes
	$(BIN)/text2expert ask expert_model_demo "How often do all bedside staff repeat the airway emergency drill?"

# The tests of a file stay together, because they share what is trained for them, and the longest files come first; many
# wait for servers, so that there is work for more processes than cores.
WORKERS ?= 4
test: $(INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd text2expert/recipes && MYPYPATH=. $(abspath $(BIN))/mypy --config-file ../../pyproject.toml --explicit-package-bases *.py
	$(BIN)/pyright -p tests/typing --pythonpath $(BIN)/python
	$(BIN)/lint-imports

wheel: $(INSTALLED)
	$(BIN)/python tests/wheel.py

# Longer than `make test`: what runs in other processes (recipes, experts, commands) is counted as well.
coverage: $(INSTALLED)
	COLD=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --cov

# Every warning is an error: a link or an anchor that leads nowhere, a name in a docstring that nobody has.
docs: $(INSTALLED)
	$(BIN)/python notebooks/run.py --as-they-are
	$(BIN)/python -m sphinx -W -n --keep-going -q -b html docs docs/_build/html

# From a clean kernel, without a key or a network; some train. `make docs` shows what came out of them.
notebooks: $(INSTALLED)
	$(BIN)/python notebooks/run.py

# Half an hour and more; what it prints goes into docs/proof.md and docs/benchmarks.md.
proof: $(INSTALLED) notebooks
	$(BIN)/python benchmarks/import_time.py
	$(BIN)/python benchmarks/evidence.py
	$(BIN)/python benchmarks/yield_offline.py
	$(BIN)/python benchmarks/retrieval.py
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/embedded.py
	$(BIN)/python benchmarks/ledger.py
	$(BIN)/python benchmarks/reference_job.py
	$(BIN)/python benchmarks/guide_plans.py
	$(BIN)/python benchmarks/elsewhere.py --llamafactory $(VENV)-llamafactory --trl $(VENV)-trl
	KILLS=20 $(BIN)/python -m pytest -q tests/test_kill.py
	RENTALS=40 $(BIN)/python -m pytest -q tests/test_vast_chaos.py
	$(BIN)/python -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet -r benchmarks/requirements-chunking.txt .
	$(VENV)-bench/bin/python benchmarks/chunking.py
	$(VENV)-bench/bin/python -m pip install --quiet -r benchmarks/requirements-orchestration.txt
	$(VENV)-bench/bin/python benchmarks/orchestration.py
	$(BIN)/python -m venv $(VENV)-train-bench
	$(VENV)-train-bench/bin/python -m pip install --quiet -r benchmarks/requirements-training.txt
	$(VENV)-train-bench/bin/python benchmarks/training.py

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(VENV)-* build dist docs/_build docs/notebooks/*.ipynb docs/notebooks/seconds.json .coverage* expert_model_* .pytest_cache .mypy_cache .ruff_cache .hypothesis
