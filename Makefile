# make                builds build/plumb, build/libplumb.so, build/libplumb.a and, where there is nvcc,
#                     build/libplumb_cuda.so
# make test           unit, style and whole-program tests, then the same under ASan and UBSan
# make demo, bench    a small training run; kernels timed
# make gpu-check      on a machine with a GPU: op tests, whole runs and timings on it
# make fuzz           SECONDS=60 for each loader of foreign files, with clang's libFuzzer (docs/fuzzing.md)
# make install        PREFIX=/usr/local, DESTDIR respected
# make python-test    the PyTorch binding against torch, TRL and Liger, in an environment that is built
#                     from PyPI (build/python); PYTHON=.../bin/python takes one that has them
# make format, clean
# test, fuzz, demo and bench first install missing Debian packages; PLUMB_NO_INSTALL=1 leaves the system alone.
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
PREFIX ?= /usr/local

.PHONY: all test fuzz demo bench gpu-check install python-test format clean
configure = @cmake --preset $(1) >build-$(1).log 2>&1 || \
    { cat build-$(1).log; rm -f build-$(1).log; exit 1; }; rm -f build-$(1).log
build = cmake --build --preset release -j $(JOBS) -t

all:
	@tools/packages.sh check
	$(call configure,release)
	$(build) plumb_all

demo:
	@tools/packages.sh install
	$(call configure,release)
	$(build) plumb_bin
	build/plumb demo

bench:
	@tools/packages.sh install
	$(call configure,release)
	$(build) plumb_bin bench_head
	build/plumb bench
	build/bench_head

# Writes bench/results/<gpu>.json.
gpu-check:
	@tools/packages.sh install test
	$(call configure,release)
	cmake --build --preset release -j $(JOBS)
	PLUMB_TEST_DEVICE=cuda build/tests/ops_test --jobs 1 --filter 'ops/every*'
	PLUMB_TEST_DEVICE=cuda PLUMB_BUILD=build build/tests/device_run_test --jobs 1
	@mkdir -p bench/results
	build/plumb bench --device cuda --json \
	    "bench/results/$$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1 | tr ' ' '-').json"

test:
	@tools/packages.sh install test
	$(call configure,release)
	cmake --build --preset release -j $(JOBS)
	ctest --preset release -j $(JOBS)
	$(call configure,asan)
	cmake --build --preset asan -j $(JOBS)
	ctest --preset asan -j $(JOBS)

SECONDS ?= 60
CLANG ?= clang
fuzz:
	@tools/packages.sh install fuzz
	$(call configure,release)
	$(build) plumb_engine
	@cmake -S tests/fuzz -B build-fuzz -G Ninja -DCMAKE_C_COMPILER=$(CLANG) >/dev/null
	cmake --build build-fuzz -j $(JOBS)
	JOBS=$(JOBS) tests/fuzz/run.sh $(SECONDS) $(TARGETS)

install: all
	cmake --install build --prefix $(PREFIX)

PYTHON ?= build/python/bin/python

build/python/bin/python:
	python3 -m venv build/python
	build/python/bin/pip install -q -r python/requirements-test.txt
	build/python/bin/pip install -q --no-deps ./python

python-test: all $(PYTHON)
	cmake --build build -j $(JOBS) -t plumb_cuda_sim
	cmake --install build --prefix build/installed >/dev/null
	cd python/tests && PYTHONPATH=..:$$PYTHONPATH PYTHONDONTWRITEBYTECODE=1 PYTHONWARNINGS=ignore \
	    PLUMB_BACKENDS=$(CURDIR)/build \
	    PLUMB_LIBRARY=$(CURDIR)/build/installed/lib/libplumb.so \
	    $(abspath $(PYTHON)) -m unittest -v

format:
	find kernels runtime algos io tools tests bench examples -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' | xargs clang-format -i

clean:
	rm -rf build build-asan build-debug build-fuzz
