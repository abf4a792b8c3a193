# Two commands for a newcomer: `make quickstart` and `make test`. They need Python >= 3.11, make and git.
PYTHON ?= python3
BIN := .venv/bin
RUN := runs/quickstart
EXTRAS := --extra report --extra baselines --extra hdf5 --extra rois --extra joblib --extra submitit

.PHONY: env quickstart test acceptance studies-small lint bench clean

env: .venv/.ready

# uv from the machine if there is one, else a private copy inside the environment; versions come from uv.lock.
.venv/.ready: pyproject.toml uv.lock
	@if command -v uv >/dev/null 2>&1; then \
	  UV_PROJECT_ENVIRONMENT=.venv uv sync --frozen --inexact --python $(PYTHON) $(EXTRAS); \
	else \
	  test -x $(BIN)/python || $(PYTHON) -m venv .venv; \
	  test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv; \
	  UV_PROJECT_ENVIRONMENT=.venv $(BIN)/uv sync --frozen --inexact --python $(BIN)/python $(EXTRAS); \
	fi
	@touch $@

# A simulated stack, a look at it, a denoiser, its judgement beside filters and bounds: under four minutes on two cores.
quickstart: env
	rm -rf $(RUN)
	$(BIN)/bioflax simulate output=$(RUN)/data fields=8 repeats=2
	$(BIN)/bioflax preflight input=$(RUN)/data/noisy run_dir=$(RUN)/preflight
	$(BIN)/bioflax train experiment=quickstart data.folder=$(RUN)/data/noisy run_dir=$(RUN)/model
	$(BIN)/bioflax evaluate model=$(RUN)/model input=$(RUN)/data/noisy target=$(RUN)/data/clean run_dir=$(RUN)/evaluation
	@echo "Look at $(RUN)/evaluation/report.html, $(RUN)/preflight/report.html and $(RUN)/model/report.html"

test: env
	$(BIN)/python -m pytest -m "not acceptance" -n auto --maxprocesses 4 --dist loadfile

acceptance: env
	$(BIN)/python -m pytest -m acceptance -s

# Every study that ships, small: under two hours on two cores. A study that is there already is not run again.
STUDIES := $(patsubst conf/study/%.yaml,%,$(filter-out conf/study/_%,$(wildcard conf/study/*.yaml)))
studies-small: env
	@failed=; for study in $(STUDIES); do \
	  $(BIN)/bioflax study study=$$study study.size=small run_dir=runs/studies/$$study || failed="$$failed $$study"; \
	done; $(BIN)/bioflax report dir=runs/studies; test -z "$$failed" || { echo "with holes:$$failed"; exit 1; }

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# make bench TORCH_PYTHON=/path/to/python: beside PyTorch, in an environment of its own (pip install torch==2.13.0).
TORCH := $(if $(TORCH_PYTHON),--torch-python $(TORCH_PYTHON))
bench: env
	$(if $(TORCH),$(BIN)/python benchmarks/step_time.py $(TORCH),@echo "step_time: give TORCH_PYTHON")
	$(BIN)/python benchmarks/tiles.py $(TORCH)
	$(BIN)/python benchmarks/simulate.py

clean:
	rm -rf .venv build *.egg-info .ruff_cache .pytest_cache
