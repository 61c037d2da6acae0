# Needs Python 3.11 (or 3.12), make and a package registry; everything else lands in .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
UV := .venv/bin/uv
# Every extra that can be installed together; gpu excludes train, and gmaps excludes notebook.
EXTRAS := --extra data --extra train --extra openvino --extra aws --extra dask --extra notebook --extra heic

.PHONY: demo test serve lint bench docs

$(UV):
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet uv

# --inexact: never remove what a richer sync has put there.
demo: $(UV)
	$(UV) sync --quiet --locked --inexact
	.venv/bin/locationnet locate "$$(.venv/bin/python -c 'import skimage; print(skimage.data_dir)')/rocket.jpg" --html map.html

serve: $(UV)
	$(UV) sync --quiet --locked --inexact
	.venv/bin/locationnet serve

.venv/.dev: $(UV) uv.lock pyproject.toml
	$(UV) sync --quiet --locked --inexact $(EXTRAS) --group dev --group docs
	touch $@

test: .venv/.dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/pytest -n auto --dist loadfile

lint: .venv/.dev
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
	.venv/bin/mypy

bench: .venv/.dev
	.venv/bin/python scripts/bench_partition.py
	.venv/bin/python scripts/bench_train.py
	.venv/bin/python scripts/bench_evaluate.py
	.venv/bin/python scripts/bench_serve.py
	.venv/bin/python scripts/bench_download.py
	$(UV) sync --quiet --locked --inexact --group bench
	.venv/bin/python scripts/bench_metadata.py

# A warning is an error: a broken link above all. From scratch, because unchanged pages warn only once.
docs: .venv/.dev
	.venv/bin/python -m sphinx -E -a -W --keep-going -n -q docs docs/_build/html
