/* The vocabulary: status codes, data types, tensors, devices. Every other header includes this
 * one. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* PLUMB_BEGIN_C .. PLUMB_END_C: what the library exports; all else in it is hidden.
 * PLUMB_BEGIN_INTERNAL: C as well, but for the engine of this tree alone: not installed. */
#ifdef __cplusplus
#define PLUMB_BEGIN_INTERNAL extern "C" {
#define PLUMB_END_INTERNAL }
#else
#define PLUMB_BEGIN_INTERNAL
#define PLUMB_END_INTERNAL
#endif
#if defined(PLUMB_BUILDS_LIBRARY)
#define PLUMB_BEGIN_C PLUMB_BEGIN_INTERNAL _Pragma("GCC visibility push(default)")
#define PLUMB_END_C _Pragma("GCC visibility pop") PLUMB_END_INTERNAL
#else
#define PLUMB_BEGIN_C PLUMB_BEGIN_INTERNAL
#define PLUMB_END_C PLUMB_END_INTERNAL
#endif
#if defined(__GNUC__) || defined(__clang__)
#define PLUMB_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define PLUMB_PRINTF(f, a)
#endif

PLUMB_BEGIN_C

#define PLUMB_VERSION "0.1.0"
/* The number in libplumb.so.<n>. It goes up with every change after which a program has to be built
 * again: a struct of a contract with another size or order, a function with other arguments. New
 * structs, functions, formulas and status codes leave it as it is. */
#define PLUMB_ABI 1

/* Both of the library that the program has opened, which may be newer than its headers. */
const char *plumb_version(void);
int plumb_abi_version(void);

/* Status codes: 0 is success, faults are negative. The text of the last fault is thread-local. */
#define PLUMB_STATUS_LIST(X)                                                                       \
    X(PLUMB_OK, 0, "done")                                                                         \
    X(PLUMB_EINVAL, -1, "bad argument")                                                            \
    X(PLUMB_EUSAGE, -2, "wrong usage")                                                             \
    X(PLUMB_EIO, -3, "input or output failed")                                                     \
    X(PLUMB_EFORMAT, -4, "malformed data")                                                         \
    X(PLUMB_EMEM, -5, "out of memory")                                                             \
    X(PLUMB_ENUM, -6, "not a finite number")                                                       \
    X(PLUMB_ENOTSUP, -7, "not supported")                                                          \
    X(PLUMB_EINTR, -8, "interrupted")

enum plumb_status {
#define X(name, value, text) name = value,
    PLUMB_STATUS_LIST(X)
#undef X
};

/* Records the text of a fault in this thread and returns `code` (lower case, no full stop). */
int plumb_fail(int code, const char *fmt, ...) PLUMB_PRINTF(2, 3);
/* Puts "while <what>: " before the recorded text and returns `code`; at most once per layer. */
int plumb_fail_while(int code, const char *fmt, ...) PLUMB_PRINTF(2, 3);
/* The text of this thread's last fault, "" if none. Valid until the next fault of this thread. */
const char *plumb_errmsg(void);
void plumb_errclear(void);
/* The fixed text of a code, as in the list above. */
const char *plumb_status_text(int code);
/* Prints file:line and the condition, then aborts: for broken invariants of ours, never for
 * input. */
void plumb_assert_failed(const char *file, int line, const char *what);

#define PLUMB_TRY(call)                                                                            \
    do {                                                                                           \
        const int plumb_rc_ = (call);                                                              \
        if (plumb_rc_ != PLUMB_OK) return plumb_rc_;                                               \
    } while (0)
/* Like PLUMB_TRY in a function that has `int rc` and a label `out:`. */
#define PLUMB_TRYG(call)                                                                           \
    do {                                                                                           \
        rc = (call);                                                                               \
        if (rc != PLUMB_OK) goto out;                                                              \
    } while (0)
#define PLUMB_ASSERT(cond) ((cond) ? (void)0 : plumb_assert_failed(__FILE__, __LINE__, #cond))

/* Element types. PLUMB_F64 is for the oracles and the device `ref`. */
enum plumb_dtype {
    PLUMB_F64, PLUMB_F32, PLUMB_BF16, PLUMB_F16, PLUMB_I32, PLUMB_I64, PLUMB_DTYPES
};
size_t plumb_dtype_bytes(enum plumb_dtype t);
const char *plumb_dtype_name(enum plumb_dtype t); /* "float32", "bfloat16", ... */
/* One rounding step: half the distance from 1 to the next number (2^-24 for f32, 2^-9 for bf16). */
double plumb_dtype_eps(enum plumb_dtype t);
/* x rounded to nearest even in t (identity for f64 and integers). */
double plumb_dtype_round(enum plumb_dtype t, double x);

/* A dense row-major array on some device. data NULL = absent, where the contract allows it. */
struct plumb_tensor {
    void *data;
    enum plumb_dtype dtype;
};

/* Where an op runs. `cpu` is native code, `ref` plain f64 loops: every float tensor is f64 there.
 * `cuda` is whatever backend `plumb/device.h` has opened: there all tensors and index arrays of a
 * contract lie in the device's memory, but for those that its header calls host memory. What is
 * inside a device is the library's own business: programs hold pointers. */
enum plumb_device_kind { PLUMB_DEV_CPU, PLUMB_DEV_REF, PLUMB_DEV_CUDA };
struct plumb_device;
extern const struct plumb_device plumb_cpu, plumb_ref; /* for their addresses */

/* Instruction sets of the native code, chosen once per process; PLUMB_ISA=v2|v3|v4 in the
 * environment lowers it. */
enum plumb_isa { PLUMB_ISA_BASE, PLUMB_ISA_AVX2, PLUMB_ISA_AVX512 };
enum plumb_isa plumb_cpu_isa(void);
const char *plumb_isa_name(enum plumb_isa isa);
bool plumb_cpu_has_bf16(void); /* AVX512-BF16 or AMX-BF16 in use by the GEMM library */

PLUMB_END_C
