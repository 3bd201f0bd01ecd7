# make                builds build/plumb, build/libplumb.so and build/libplumb.a
# make test           unit, style and whole-program tests, then the same under ASan and UBSan
# make demo, bench    a small training run; kernels timed
# make install        PREFIX=/usr/local, DESTDIR respected
# make format, clean
# test, demo and bench first install missing Debian packages; PLUMB_NO_INSTALL=1 leaves the system alone.
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
PREFIX ?= /usr/local

.PHONY: all packages release asan test demo bench install format clean

all:
	@tools/packages.sh check
	@$(MAKE) --no-print-directory release

packages:
	@tools/packages.sh install

release asan:
	@cmake --preset $@ >build-$@.log 2>&1 || { cat build-$@.log; rm -f build-$@.log; exit 1; }
	@rm -f build-$@.log
	cmake --build --preset $@ -j $(JOBS)

test: packages
	@$(MAKE) --no-print-directory release
	ctest --preset release -j $(JOBS)
	@$(MAKE) --no-print-directory asan
	ctest --preset asan -j $(JOBS)

demo bench: packages
	@$(MAKE) --no-print-directory release
	build/plumb $@

install: all
	cmake --install build --prefix $(PREFIX)

format:
	find kernels runtime algos io tools tests bench -name '*.[ch]' | xargs clang-format -i

clean:
	rm -rf build build-asan build-debug
