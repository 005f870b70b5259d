# `make demo` and `make test` do all of their own set-up; the only thing needed first is Python.
PYTHON ?= python3
BIN := .venv/bin
# uv does not read pip's setting for extra wheel folders by itself.
INSTALL = UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(BIN)/uv pip install --quiet --python $(BIN)/python

.PHONY: demo test check format unit clean

demo: .venv/.demo
	$(BIN)/clipmill demo demo

test: check
	$(BIN)/pytest

check: .venv/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

unit: .venv/.test
	$(BIN)/pytest tests/unit

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
	$(INSTALL) -e '.[speech,ocr,models,test]'
	@touch $@ .venv/.demo

clean:
	rm -rf .venv build dist demo
