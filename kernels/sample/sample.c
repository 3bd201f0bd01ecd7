/* Checks the arguments of sampling and picks the code that runs. */
#include <plumb/sample.h>

#include <math.h>
#include <plumb/backend.h>
#include <string.h>

#include "kernels/op.h"
#include "kernels/sample/sample_ref.h"
#include "kernels/sample/sample_work.h"

PLUMB_CPU_DECLARE(plumb_sample_cpu, plumb_sample);

static const char op[] = "sample";

static int check_sizes(const struct plumb_sample *a)
{
    const struct plumb_logits *l = &a->logits;
    int64_t count;
    PLUMB_TRY(plumb_check_size(op, "logits.rows", l->rows, 0));
    PLUMB_TRY(plumb_check_size(op, "logits.vocab", l->vocab, 1));
    PLUMB_TRY(plumb_check_size(op, "logits.slice", l->slice, 1));
    PLUMB_TRY(plumb_check_size(op, "biases", a->biases, 0));
    if (l->vocab >= INT32_MAX || l->rows >= INT32_MAX || a->biases > l->vocab ||
        __builtin_mul_overflow(l->rows, l->vocab * 8, &count))
        return plumb_fail(PLUMB_EINVAL,
                          "sample: logits.rows=%lld logits.vocab=%lld biases=%lld: too large",
                          (long long)l->rows, (long long)l->vocab, (long long)a->biases);
    if (l->stride && (l->stride < l->vocab || l->slice < l->vocab))
        return plumb_fail(PLUMB_EINVAL,
                          "sample: logits.stride=%lld with slices of %lld, must be 0 or at least "
                          "logits.vocab=%lld with one slice",
                          (long long)l->stride, (long long)l->slice, (long long)l->vocab);
    return PLUMB_OK;
}

static int check_options(const struct plumb_sample *a)
{
    if (!(a->repetition_penalty > 0) || !isfinite(a->repetition_penalty))
        return plumb_fail(PLUMB_EINVAL, "sample: repetition_penalty=%g, must be above 0 (1 = none)",
                          a->repetition_penalty);
    if (a->greedy) return PLUMB_OK;
    PLUMB_TRY(plumb_check_size(op, "top_k", a->top_k, 0));
    if (!(a->top_p > 0 && a->top_p <= 1))
        return plumb_fail(PLUMB_EINVAL, "sample: top_p=%g, must be in (0, 1] (1 = all)", a->top_p);
    if (!(a->min_p >= 0 && a->min_p <= 1))
        return plumb_fail(PLUMB_EINVAL, "sample: min_p=%g, must be in [0, 1] (0 = all)", a->min_p);
    return PLUMB_OK;
}

static int check_arrays(const struct plumb_device *dev, const struct plumb_sample *a)
{
    PLUMB_TRY(plumb_check_array(op, dev, "logits.z", a->logits.z));
    PLUMB_TRY(plumb_check_array(op, dev, "token", a->token));
    PLUMB_TRY(plumb_check_optional(op, dev, "logp", &a->logp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_array(op, dev, "work", a->work.data));
    if (a->seen_offset) {
        PLUMB_TRY(plumb_check_array(op, dev, "seen_offset", a->seen_offset));
        PLUMB_TRY(plumb_check_array(op, dev, "seen", a->seen));
    }
    if (a->biases) {
        PLUMB_TRY(plumb_check_array(op, dev, "bias_token", a->bias_token));
        PLUMB_TRY(plumb_check_tensor(op, dev, "bias", &a->bias, PLUMB_MASK_F32));
    }
    if (a->greedy) return PLUMB_OK;
    PLUMB_TRY(plumb_check_array(op, dev, "seed", a->seed));
    PLUMB_TRY(plumb_check_array(op, dev, "sequence", a->sequence));
    return plumb_check_array(op, dev, "position", a->position);
}

static int check_token(const struct plumb_sample *a, const char *field, int64_t i, int32_t token)
{
    if (token >= 0 && token < a->logits.vocab) return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL, "sample: %s[%lld]=%d, must be 0 to %lld", field, (long long)i,
                      token, (long long)a->logits.vocab - 1);
}

/* Tokens, where the host can read them. Scratch remembers which ones have had a bias. */
static int check_tokens(const struct plumb_sample *a)
{
    const int32_t *offset = a->seen_offset;
    char *mark = a->work.data;
    for (int64_t m = 0; offset && m < a->logits.rows; m++) {
        if (offset[0] < 0 || offset[m + 1] < offset[m])
            return plumb_fail(PLUMB_EINVAL, "sample: seen_offset[%lld]=%d after %d",
                              (long long)m + 1, offset[m + 1], offset[m]);
        for (int64_t i = offset[m]; i < offset[m + 1]; i++)
            PLUMB_TRY(check_token(a, "seen", i, a->seen[i]));
    }
    if (!a->biases) return PLUMB_OK;
    memset(mark, 0, (size_t)a->logits.vocab);
    for (int64_t i = 0; i < a->biases; i++) {
        PLUMB_TRY(check_token(a, "bias_token", i, a->bias_token[i]));
        if (mark[a->bias_token[i]])
            return plumb_fail(PLUMB_EINVAL, "sample: bias_token[%lld]=%d stands there twice",
                              (long long)i, a->bias_token[i]);
        mark[a->bias_token[i]] = 1;
    }
    return PLUMB_OK;
}

int plumb_sample(const struct plumb_device *dev, const struct plumb_sample *a)
{
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    PLUMB_TRY(check_sizes(a));
    PLUMB_TRY(check_options(a));
    if (!a->logits.rows) return PLUMB_OK;
    PLUMB_TRY(check_arrays(dev, a));
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, op, a, sizeof *a);
    PLUMB_TRY(check_tokens(a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_sample_cpu, a);
    plumb_sample_ref(a, dev->round);
    return PLUMB_OK;
}

size_t plumb_sample_workspace(const struct plumb_device *dev, const struct plumb_sample *a)
{
    if (plumb_check_args(op, dev, a, sizeof *a) || check_sizes(a)) return 0; /* the op says why */
    if (dev->kind == PLUMB_DEV_CPU) return plumb_sample_layout(a).bytes;
    if (dev->kind == PLUMB_DEV_CUDA)
        return plumb_backend_size(dev, "sample_workspace", a, sizeof *a);
    return (size_t)a->logits.vocab * sizeof(struct plumb_sample_candidate);
}
