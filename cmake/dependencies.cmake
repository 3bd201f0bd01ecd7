# Libraries of the system. Debian's dnnl-config.cmake asks for OpenCL development files, so oneDNN
# is found by hand.
find_path(DNNL_INCLUDE_DIR dnnl.h REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS C)
find_package(ZLIB REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(cjson REQUIRED IMPORTED_TARGET libcjson)
pkg_check_modules(yaml REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(pcre2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(utf8proc REQUIRED IMPORTED_TARGET libutf8proc)
# Named here, as pkg-config would only say that a module is missing.
pkg_check_modules(zstd IMPORTED_TARGET libzstd)
if(NOT zstd_FOUND)
    message(FATAL_ERROR "libzstd is missing, which reads compressed datasets: apt-get install "
        "libzstd-dev")
endif()
