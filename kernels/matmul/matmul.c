/* Checks the arguments of the matrix product, settles the cases without a sum, and picks the
 * code that runs it. */
#include <plumb/matmul.h>

#include <plumb/backend.h>

#include "kernels/matmul/matmul_library.h"
#include "kernels/op.h"
#include "kernels/simd.h"

/* A matrix stored as (rows, cols) has a stride that holds a row, and its size in bytes is a
 * number. */
static int check_stride(const char *field, int64_t rows, int64_t cols, int64_t stride)
{
    int64_t count, bytes;
    if (stride < cols)
        return plumb_fail(PLUMB_EINVAL, "matmul: %s=%lld is less than a row of %lld", field,
                          (long long)stride, (long long)cols);
    if (__builtin_mul_overflow(rows, stride, &count) ||
        __builtin_mul_overflow(count, (int64_t)sizeof(double), &bytes))
        return plumb_fail(PLUMB_EINVAL, "matmul: %s=%lld times %lld rows overflows", field,
                          (long long)stride, (long long)rows);
    return PLUMB_OK;
}

static int check_tensors(const struct plumb_device *dev, const struct plumb_matmul *a)
{
    const unsigned same = (unsigned)a->a.dtype < PLUMB_DTYPES ? PLUMB_MASK(a->a.dtype) : 0;
    const unsigned out = PLUMB_MASK_F32 | (a->a.dtype == PLUMB_BF16 ? PLUMB_MASK(PLUMB_BF16) : 0);
    if (a->M > 0 && a->N > 0 && a->K > 0) {
        PLUMB_TRY(plumb_check_tensor("matmul", dev, "a", &a->a, PLUMB_MASK_FLOATS));
        PLUMB_TRY(plumb_check_tensor("matmul", dev, "b", &a->b, same));
    }
    if (a->M > 0 && a->N > 0) PLUMB_TRY(plumb_check_tensor("matmul", dev, "c", &a->c, out));
    PLUMB_TRY(plumb_check_optional("matmul", dev, "bias", &a->bias, PLUMB_MASK_F32 | same));
    if (a->bias.data && a->accumulate)
        return plumb_fail(PLUMB_EINVAL, "matmul: bias and accumulate do not go together");
    return PLUMB_OK;
}

/* Checks a and gives every stride its value. */
static int prepare(const struct plumb_device *dev, struct plumb_matmul *a)
{
    PLUMB_TRY(plumb_check_size("matmul", "M", a->M, 0));
    PLUMB_TRY(plumb_check_size("matmul", "N", a->N, 0));
    PLUMB_TRY(plumb_check_size("matmul", "K", a->K, 0));
    PLUMB_TRY(check_tensors(dev, a));
    const int64_t ar = a->trans_a ? a->K : a->M, ac = a->trans_a ? a->M : a->K;
    const int64_t br = a->trans_b ? a->N : a->K, bc = a->trans_b ? a->K : a->N;
    if (!a->lda) a->lda = ac;
    if (!a->ldb) a->ldb = bc;
    if (!a->ldc) a->ldc = a->N;
    PLUMB_TRY(check_stride("lda", ar, ac, a->lda));
    PLUMB_TRY(check_stride("ldb", br, bc, a->ldb));
    return check_stride("ldc", a->M, a->N, a->ldc);
}

/* K = 0: the sum is empty, C is the bias or zero. */
static void without_sum(const struct plumb_matmul *a)
{
    const bool to = a->c.dtype == PLUMB_BF16, from = a->bias.dtype == PLUMB_BF16;
    if (a->accumulate) return;
    for (int64_t m = 0; m < a->M; m++)
        for (int64_t n = 0; n < a->N; n++)
            plumb_store(a->c.data, to, m * a->ldc + n,
                        a->bias.data ? plumb_load(a->bias.data, from, n) : 0.0f);
}

int plumb_matmul(const struct plumb_device *dev, const struct plumb_matmul *args)
{
    PLUMB_TRY(plumb_check_args("matmul", dev, args, sizeof *args));
    struct plumb_matmul a = *args;
    PLUMB_TRY(prepare(dev, &a));
    if (a.M == 0 || a.N == 0) return PLUMB_OK;
    if (dev->kind == PLUMB_DEV_REF) {
        plumb_matmul_ref(&a, dev->round);
        return PLUMB_OK;
    }
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "matmul", &a, sizeof a);
    if (a.K == 0) {
        without_sum(&a);
        return PLUMB_OK;
    }
    if (a.a.dtype == PLUMB_BF16 && !plumb_matmul_library_takes_bf16())
        return plumb_matmul_expanded(&a);
    return plumb_matmul_rows(&a);
}
