/* How an op shows itself to tests, gradient checks and benchmarks: one case table, one set-up
 * function. A folder kernels/<op>/ that holds <op>_op.c defines `const struct plumb_op
 * plumb_op_<op>[]`, closed by a row without a name; CMake collects the folders into gen/ops.def.
 * Nothing else names an op. */
#pragma once
#include <plumb/backend.h>

/* Storage class of a tensor under a precision profile (float32: all f32; bfloat16 mixed: as
 * noted; ref: all f64).
 *   ACT     bf16; its gradient bf16, overwritten
 *   WEIGHT  bf16; its gradient f32, accumulated
 *   RESID   f32; gradient f32, overwritten
 *   STAT    f32 statistics, log-probs, losses; gradient f32, overwritten
 *   PARAM   f32; gradient f32, accumulated */
enum plumb_case_role {
    PLUMB_CASE_ACT,
    PLUMB_CASE_WEIGHT,
    PLUMB_CASE_RESID,
    PLUMB_CASE_STAT,
    PLUMB_CASE_PARAM
};

struct plumb_case {
    const char *name;
    int64_t dim[10];
    double opt[6];
    bool bench; /* large: timed by `plumb bench`, left out of tests */
};

/* The builder that set-up talks to; the harness behind it decides device, dtype and storage. */
struct plumb_case_mem;
/* An input with pseudo-random values in [lo, hi), the same for every device; `grad` (or NULL) is
 * where backward puts or adds its gradient. Names are unique inside an op. */
void plumb_case_in(struct plumb_case_mem *m, struct plumb_tensor *t, struct plumb_tensor *grad,
                   enum plumb_case_role role, const char *name, int64_t count, double lo,
                   double hi);
/* An input with given values (rounded to the role's dtype). */
void plumb_case_in_values(struct plumb_case_mem *m, struct plumb_tensor *t,
                          struct plumb_tensor *grad, enum plumb_case_role role, const char *name,
                          int64_t count, const double *values);
/* An output, filled with NaN beforehand; `upstream` (or NULL) gets random gradients for
 * backward. */
void plumb_case_out(struct plumb_case_mem *m, struct plumb_tensor *t, struct plumb_tensor *upstream,
                    enum plumb_case_role role, const char *name, int64_t count);
/* An array that is read and written (optimizer state): initial values as for an input, compared
 * afterwards. */
void plumb_case_inout(struct plumb_case_mem *m, struct plumb_tensor *t, enum plumb_case_role role,
                      const char *name, int64_t count, double lo, double hi);
/* The gradient check's objective gets weight * sum(out): for losses that write their gradient in
 * the forward. */
void plumb_case_objective(struct plumb_case_mem *m, const struct plumb_tensor *out, double weight);
/* Makes output `t` share the storage of `other` (both declared before). */
void plumb_case_alias(struct plumb_case_mem *m, struct plumb_tensor *t,
                      const struct plumb_tensor *other);
/* Zeroed integers for set-up to fill, before it returns (the op gets them in its device's memory);
 * int32 outputs are compared exactly. */
int32_t *plumb_case_index(struct plumb_case_mem *m, int64_t count);
int32_t *plumb_case_index_out(struct plumb_case_mem *m, const char *name, int64_t count);
/* Outputs beside the tensors: f64 compared by the rule, int64 exactly. */
double *plumb_case_f64_out(struct plumb_case_mem *m, const char *name, int64_t count);
int64_t *plumb_case_i64_out(struct plumb_case_mem *m, const char *name, int64_t count);
/* The same for bytes of any kind that the op reads or writes on its device. */
void *plumb_case_device_bytes(struct plumb_case_mem *m, size_t bytes);
void *plumb_case_bytes(struct plumb_case_mem *m, size_t bytes); /* zeroed memory of the host */
/* Deterministic stream for set-up's own choices (indices, lengths). */
uint64_t plumb_case_below(struct plumb_case_mem *m, uint64_t n);

struct plumb_op {
    const char *name;
    const struct plumb_case *cases;
    int case_count;
    size_t args_bytes;
    /* args are zeroed before */
    void (*setup)(const struct plumb_case *c, struct plumb_case_mem *m, void *args);
    int (*fwd)(const struct plumb_device *dev, const void *args);
    int (*bwd)(const struct plumb_device *dev, const void *args); /* NULL = none */
    void (*fwd_ref)(const void *args, enum plumb_dtype round);
    void (*bwd_ref)(const void *args, enum plumb_dtype round);
    /* covers fwd and bwd; NULL = none */
    size_t (*workspace)(const struct plumb_device *dev, const void *args);
    size_t work_offset; /* offsetof(struct args, work) */
    /* least bytes moved; elem = bytes of ACT */
    double (*bytes)(const struct plumb_case *c, size_t elem, bool backward);
    double (*flops)(const struct plumb_case *c, bool backward);
    bool f32_only; /* no bf16 profile (losses, reductions, optimizer) */
    /* Weight gradients come from products of the library, which may split a long sum among its
     * threads: their bits hold for one number of threads (plumb/matmul.h). */
    bool products_of_threads;
    bool all_gradients_of_threads; /* the same of every gradient, not of weights alone */
};

/* Native code is compiled once per instruction set: a file <op>_cpu.c names its functions
 * PLUMB_CPU_FN(plumb_x_fwd), and <op>.c declares them by PLUMB_CPU_DECLARE and calls
 * PLUMB_CPU_CALL, which picks by plumb_cpu_isa(). */
#define PLUMB_PASTE_(a, b) a##b
#define PLUMB_PASTE(a, b) PLUMB_PASTE_(a, b)
#define PLUMB_CPU_FN(name) PLUMB_PASTE(name, PLUMB_ISA_SUFFIX)
#define PLUMB_CPU_DECLARE(name, args)                                                              \
    int name##_v2(const struct args *);                                                            \
    int name##_v3(const struct args *);                                                            \
    int name##_v4(const struct args *)
#define PLUMB_CPU_CALL(name, a)                                                                    \
    (plumb_cpu_isa() == PLUMB_ISA_AVX512 ? name##_v4(a)                                            \
     : plumb_cpu_isa() == PLUMB_ISA_AVX2 ? name##_v3(a)                                            \
                                         : name##_v2(a))

/* Whether rows of `width` numbers each are worth more than one thread: waking a thread takes some
 * microseconds, in which one alone is through with this many numbers. */
static inline bool plumb_worth_threads(int64_t rows, int64_t width)
{
    return rows > 1 && rows * width > 16384;
}

/* Argument checks shared by all ops; each names the op and the field. */
/* Device and arguments are there, and the struct is as large as this library's: every entry of an
 * op begins with this. */
int plumb_check_args(const char *op, const struct plumb_device *dev, const void *a, size_t wanted);
/* `t` is present and of a dtype in `mask` (bit per enum value) on cpu, or f64 on ref. */
int plumb_check_tensor(const char *op, const struct plumb_device *dev, const char *field,
                       const struct plumb_tensor *t, unsigned mask);
/* As above, but absent is fine. */
int plumb_check_optional(const char *op, const struct plumb_device *dev, const char *field,
                         const struct plumb_tensor *t, unsigned mask);
/* An array is there, in the memory of `dev`; or in that of the host, whatever the device. */
int plumb_check_array(const char *op, const struct plumb_device *dev, const char *field,
                      const void *p);
int plumb_check_host_array(const char *op, const char *field, const void *p);
int plumb_check_size(const char *op, const char *field, int64_t value, int64_t least);
/* offset[0] >= 0 and non-decreasing over R runs; may be NULL when R = 0. On a device with memory of
 * its own only that it is there. */
int plumb_check_runs(const char *op, const struct plumb_device *dev, const int32_t *offset,
                     int64_t R);
int plumb_check_positive(const char *op, const char *field, double value); /* and finite */
#define PLUMB_MASK(t) (1u << (t))
#define PLUMB_MASK_F32 PLUMB_MASK(PLUMB_F32)
#define PLUMB_MASK_FLOATS (PLUMB_MASK(PLUMB_F32) | PLUMB_MASK(PLUMB_BF16))
