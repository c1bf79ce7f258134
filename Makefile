# make demo    set up, then train a network on handwritten digits
# make test    set up, then lint, types and every test
# make bench   set up the peers, then measure deltarule beside them (docs/benchmarks.md)
# make clean   remove what the targets above made

SETUP_INPUTS := pyproject.toml constraints.txt tools/setup
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: demo test bench clean

demo: .venv/.demo
	deltarule train digits

test: .venv/.test
	ruff format --check
	ruff check
	mypy
	python -m pytest -n 2 --dist loadfile

bench: .venv/.bench
	python benchmarks/run.py
	python benchmarks/run.py --draw

clean:
	rm -rf .venv runs

.venv/.demo: $(SETUP_INPUTS)
	tools/setup plot
	touch $@

.venv/.test: $(SETUP_INPUTS)
	tools/setup dev
	touch $@

.venv/.bench: $(SETUP_INPUTS)
	tools/setup bench,plot
	touch $@
