# Needs Python 3.11 (or 3.12), make and a package registry; everything else lands in .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
UV := .venv/bin/uv
# Every extra that can be installed together; gpu excludes train, and gmaps excludes notebook.
EXTRAS := --extra data --extra train --extra openvino --extra aws --extra dask --extra notebook --extra heic --extra geoclip --extra library --extra retrieval

.PHONY: demo test test-newest serve lint bench docs notebooks release publish

$(UV):
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet uv

# The package alone. Where `make test` has been, what it has put there serves as well, and stays: alone,
# the package would take a NumPy that training cannot have.
.venv/.base: $(UV) uv.lock pyproject.toml
	if [ -e .venv/.dev ]; then $(MAKE) .venv/.dev; else $(UV) sync --quiet --locked --inexact; fi
	touch $@

demo: .venv/.base
	@echo "A launch photo, picked because the demo model has something to say about it; of most it has not:"
	.venv/bin/locationnet locate "$$(.venv/bin/python -c 'import skimage; print(skimage.data_dir)')/rocket.jpg" --html map.html

serve: .venv/.base
	.venv/bin/locationnet serve

.venv/.dev: $(UV) uv.lock pyproject.toml
	$(UV) sync --quiet --locked --inexact $(EXTRAS) --group dev --group docs
	touch $@

test: .venv/.dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/pytest -n auto --dist loadfile

# The wheel alone, in a bare environment of the newest Python at hand, beside today's NumPy: what
# training needs holds nobody else back. Pages in a browser and the service's processes do not depend on
# either.
NEWEST ?= $(shell for python in python3.14 python3.13 \
    $$(ls -d $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.1[34]*/bin/python3 2>/dev/null | sort -rV) \
    $(PYTHON); do $$python -c "" 2>/dev/null && echo $$python && break; done)

test-newest: $(UV)
	rm -rf build/newest && $(UV) build --quiet --wheel --out-dir build/newest
	UV_PROJECT_ENVIRONMENT=.venv-newest $(UV) sync --quiet --locked --python $(NEWEST) \
	    --no-install-project --extra heic --extra notebook --extra openvino --extra retrieval --group dev --group newest
	VIRTUAL_ENV=.venv-newest $(UV) pip install --quiet --no-deps --reinstall build/newest/*.whl
	.venv-newest/bin/python -c "import sys, numpy; print('Python', sys.version.split()[0], 'NumPy', numpy.__version__)"
	PATH="$(CURDIR)/$(dir $(UV)):$$PATH" .venv-newest/bin/pytest -n auto --dist loadfile \
	    tests/geo tests/model tests/server/test_app.py tests/viz tests/cli/test_locate.py \
	    --ignore tests/viz/test_page.py

# What is handed on: dist/ holds the source and the wheel, and the wheel works alone.
release: $(UV)
	rm -f dist/locationnet-* && $(UV) build --quiet --out-dir dist
	UV_PROJECT_ENVIRONMENT=.venv-release $(UV) sync --quiet --locked --no-install-project --only-group release
	.venv-release/bin/twine check --strict dist/locationnet-*
	$(UV) venv --quiet --clear --python $(PYTHON) build/release
	VIRTUAL_ENV=build/release $(UV) pip install --quiet dist/locationnet-*.whl
	cd build && release/bin/locationnet locate --top-k 1 \
	    "$$(release/bin/python -c 'import skimage; print(skimage.data_dir)')/rocket.jpg"

# Only a commit that is tagged as a version, and only where credentials are in the environment; what is
# out already stays as it is.
publish:
	@if ! git tag --points-at HEAD | grep -q '^v'; then \
	    echo "not published: this commit is not tagged as a version"; \
	elif [ -z "$$TWINE_PASSWORD" ]; then \
	    echo "not published: TWINE_PASSWORD, a token, is not set"; \
	else \
	    $(MAKE) release && TWINE_USERNAME="$${TWINE_USERNAME:-__token__}" \
	        .venv-release/bin/twine upload --non-interactive --skip-existing dist/locationnet-*; \
	fi

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
	$(UV) sync --quiet --locked --inexact $(EXTRAS) --group dev --group docs --group bench
	.venv/bin/python scripts/bench_metadata.py

# The notebooks are kept with what they show; to be run where what they show has changed.
notebooks: .venv/.dev
	.venv/bin/python scripts/build_notebooks.py

# A warning is an error: a broken link above all. From scratch, because unchanged pages warn only once.
docs: .venv/.dev
	.venv/bin/python -m sphinx -E -a -W --keep-going -n -q docs docs/_build/html
