#!/bin/sh
# packages.sh check: fails with a list when a Debian package needed to build is missing.
# packages.sh install: installs what is missing by apt-get (with sudo when not root); asks apt nothing
#   when all is there.
# A second word: test or fuzz, for what these need, too.
missing=
need() { missing="$missing $*"; }
have() { command -v "$1" >/dev/null 2>&1; }

have "${CC:-cc}" || need gcc libc6-dev
have cmake || need cmake
have ninja || need ninja-build
if have pkg-config; then
    pkg-config --exists libcjson || need libcjson-dev
    pkg-config --exists yaml-0.1 || need libyaml-dev
    pkg-config --exists libpcre2-8 || need libpcre2-dev
    pkg-config --exists libutf8proc || need libutf8proc-dev
    pkg-config --exists zlib || need zlib1g-dev
    pkg-config --exists libzstd || need libzstd-dev
else
    need pkg-config libcjson-dev libyaml-dev libpcre2-dev libutf8proc-dev zlib1g-dev \
        libzstd-dev
fi
if [ "$2" = test ]; then
    pkg-config --exists criterion 2>/dev/null || need libcriterion-dev
    # The CUDA sources run on the CPU as C++; clang's instrumentation finds their races.
    have "${CXX:-c++}" || need g++
    have clang++ || need clang
fi
if [ "$2" = fuzz ]; then
    # The runtime of libFuzzer may lie in a package of its own.
    echo 'int LLVMFuzzerTestOneInput(const char *d, long n) { return d && n < 0; }' |
        clang -fsanitize=fuzzer,address -x c - -o /dev/null 2>/dev/null || need clang libclang-rt-dev
fi
# oneDNN has no pkg-config file: the compiler is asked for its header.
echo '#include <dnnl.h>' | "${CC:-cc}" -E - >/dev/null 2>&1 || need libdnnl-dev
[ -n "$missing" ] || exit 0

refuse() {
    echo "plumb: $1. Missing Debian packages:" >&2
    for p in $missing; do echo "    $p" >&2; done
    echo "  apt-get install$missing" >&2
    exit 1
}
[ "$1" = install ] || refuse "cannot build"
[ "$PLUMB_NO_INSTALL" != 1 ] || refuse "PLUMB_NO_INSTALL=1 forbids installing"
have apt-get || refuse "there is no apt-get here"
as_root=
if [ "$(id -u)" != 0 ]; then
    have sudo || refuse "not root, and there is no sudo"
    as_root=sudo
fi
echo "plumb: installing$missing" >&2
apt() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@"; }
apt install --no-install-recommends $missing || {
    apt update && apt install --no-install-recommends $missing
} || refuse "apt-get could not install them"
