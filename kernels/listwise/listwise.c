/* Checks the arguments of the listwise losses and picks the code that runs. */
#include <plumb/backend.h>
#include <plumb/device.h>
#include <plumb/listwise.h>

#include <math.h>

#include "kernels/listwise/listwise_room.h"
#include "kernels/op.h"
#include "kernels/sequence_part.h"

PLUMB_CPU_DECLARE(plumb_listwise_cpu, plumb_listwise);

size_t plumb_listwise_workspace(const struct plumb_device *dev, const struct plumb_listwise *a)
{
    (void)dev;
    return a->C > 0 ? (size_t)(a->C + 16) * PLUMB_LIST_WORK : 0;
}

static bool reads_temperature(enum plumb_listwise_loss loss)
{
    return loss == PLUMB_LIST_LIST_NET || loss == PLUMB_LIST_NCA || loss == PLUMB_LIST_SPPO_K;
}

static int check_inputs(const struct plumb_device *dev, const struct plumb_listwise *a)
{
    const char *op = "listwise";
    PLUMB_TRY(plumb_check_optional(op, dev, "score", &a->score, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "logp", &a->logp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "ref_logp", &a->ref_logp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "ref_sum", &a->ref_sum, PLUMB_MASK_F32));
    if (!a->score.data == !a->logp.data)
        return plumb_fail(PLUMB_EINVAL, "listwise: score and logp are %s, one must be",
                          a->score.data ? "both given" : "both missing");
    if (a->ref_logp.data && a->ref_sum.data)
        return plumb_fail(PLUMB_EINVAL, "listwise: ref_logp and ref_sum are both given");
    if (a->score.data && (a->ref_logp.data || a->ref_sum.data))
        return plumb_fail(PLUMB_EINVAL, "listwise: %s has no use beside score",
                          a->ref_sum.data ? "ref_sum" : "ref_logp");
    if (a->logp.data) PLUMB_TRY(plumb_check_runs(op, dev, a->offset, a->C));
    if (a->mask) PLUMB_TRY(plumb_check_array(op, dev, "mask", a->mask));
    PLUMB_TRY(plumb_check_tensor(op, dev, "label", &a->label, PLUMB_MASK_F32));
    return plumb_check_optional(op, dev, "weight", &a->weight, PLUMB_MASK_F32);
}

static int check_outputs(const struct plumb_device *dev, const struct plumb_listwise *a)
{
    const char *op = "listwise";
    PLUMB_TRY(plumb_check_tensor(op, dev, "losses", &a->losses, PLUMB_MASK_F32));
    if (a->logp.data) {
        PLUMB_TRY(plumb_check_tensor(op, dev, "scores", &a->scores, PLUMB_MASK_F32));
        PLUMB_TRY(plumb_check_tensor(op, dev, "logps", &a->logps, PLUMB_MASK_F32));
    } else if (a->scores.data || a->logps.data || a->dlogp.data) {
        return plumb_fail(PLUMB_EINVAL, "listwise: %s needs logp",
                          a->scores.data  ? "scores"
                          : a->logps.data ? "logps"
                                          : "dlogp");
    }
    PLUMB_TRY(plumb_check_optional(op, dev, "pairs", &a->pairs, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "correct", &a->correct, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "top", &a->top, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "dscore", &a->dscore, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "dlogp", &a->dlogp, PLUMB_MASK_F32));
    if (a->dlogp.data && !a->dscore.data)
        return plumb_fail(PLUMB_EINVAL, "listwise: dscore is missing, which dlogp needs");
    if (a->C > 0 && !a->work.data) return plumb_fail(PLUMB_EINVAL, "listwise: work is missing");
    return PLUMB_OK;
}

static int check_options(const struct plumb_listwise *a)
{
    const char *const name[] = { "length_penalty", "sft_length_penalty", "sft_weight",
                                 "lambda",         "label_temperature",  "margin" };
    const double value[] = { a->length_penalty, a->sft_length_penalty, a->sft_weight,
                             a->lambda,         a->label_temperature,  a->margin };
    PLUMB_TRY(plumb_check_positive("listwise", "beta", a->beta));
    PLUMB_TRY(plumb_check_positive("listwise", "divisor", a->divisor));
    for (int i = 0; i < 6; i++)
        if (!isfinite(value[i]) || (value[i] < 0 && i < 5))
            return plumb_fail(PLUMB_EINVAL, "listwise: %s=%g, must be %sfinite", name[i], value[i],
                              i < 5 ? "at least 0 and " : "");
    if (a->top_k < 0)
        return plumb_fail(PLUMB_EINVAL, "listwise: top_k=%lld, must be at least 0",
                          (long long)a->top_k);
    if (reads_temperature(a->loss) && !((float)a->label_temperature > 0))
        return plumb_fail(PLUMB_EINVAL, "listwise: label_temperature=%g, loss \"%s\" divides by it",
                          a->label_temperature, plumb_listwise_name((int)a->loss));
    if (a->score.data && a->length_penalty > 0)
        return plumb_fail(PLUMB_EINVAL, "listwise: length_penalty=%g needs logp",
                          a->length_penalty);
    if (a->score.data && a->sft_weight > 0)
        return plumb_fail(PLUMB_EINVAL, "listwise: sft_weight=%g needs logp", a->sft_weight);
    return PLUMB_OK;
}

static int check(const struct plumb_device *dev, const struct plumb_listwise *a)
{
    PLUMB_TRY(plumb_check_args("listwise", dev, a, sizeof *a));
    if (!plumb_listwise_name((int)a->loss))
        return plumb_fail(PLUMB_EINVAL, "listwise: loss=%d is no loss", (int)a->loss);
    PLUMB_TRY(plumb_check_size("listwise", "L", a->L, 0));
    PLUMB_TRY(plumb_check_size("listwise", "C", a->C, 0));
    PLUMB_TRY(plumb_check_size("listwise", "first", a->first, 0));
    if (a->L > 0) PLUMB_TRY(plumb_check_array("listwise", dev, "list", a->list));
    if (plumb_device_is_host(dev) && a->L > 0) {
        for (int64_t l = 0; l < a->L; l++)
            if (a->list[l + 1] < a->list[l])
                return plumb_fail(PLUMB_EINVAL, "listwise: list[%lld]=%d after %d",
                                  (long long)(l + 1), a->list[l + 1], a->list[l]);
        if (a->list[0] != a->first || a->list[a->L] != a->first + a->C)
            return plumb_fail(PLUMB_EINVAL,
                              "listwise: list runs from %d to %d, must be first=%lld to that and "
                              "C=%lld",
                              a->list[0], a->list[a->L], (long long)a->first, (long long)a->C);
    }
    PLUMB_TRY(check_inputs(dev, a));
    PLUMB_TRY(check_outputs(dev, a));
    return check_options(a);
}

int plumb_listwise(const struct plumb_device *dev, const struct plumb_listwise *a)
{
    PLUMB_TRY(check(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_listwise_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "listwise", a, sizeof *a);
    plumb_listwise_ref(a, dev->round);
    return PLUMB_OK;
}

/* The token that list l begins with. */
static int64_t begin_of(const int32_t *list, const int32_t *offset, int64_t l)
{
    return offset[list[l] - list[0]];
}

int plumb_listwise_part(const struct plumb_listwise *a, const int32_t *list, const int32_t *offset,
                        int64_t first, int64_t count, struct plumb_listwise *out)
{
    if (!a || !out || !list || !offset)
        return plumb_fail(PLUMB_EINVAL, "listwise: %s is NULL",
                          !a      ? "a"
                          : !out  ? "out"
                          : !list ? "list"
                                  : "offset");
    int64_t low = 0;
    while (low < a->L && begin_of(list, offset, low) < first)
        low++;
    int64_t high = low; /* lists without a token belong to both parts that they touch */
    while (high < a->L && begin_of(list, offset, high + 1) <= first + count)
        high++;
    if (count < 0 || begin_of(list, offset, low) != first ||
        begin_of(list, offset, high) != first + count)
        return plumb_fail(PLUMB_EINVAL, "listwise: tokens [%lld, %lld) are no run of whole lists",
                          (long long)first, (long long)(first + count));
    const int64_t c = list[low] - list[0];
    *out = *a;
    out->L = high - low;
    out->C = list[high] - list[low];
    out->first = list[low];
    out->list = a->list ? a->list + low : NULL;
    out->offset = a->offset ? a->offset + c : NULL;
    out->mask = a->mask ? a->mask + c : NULL;
    struct plumb_tensor *const of_lists[] = { &out->weight, &out->losses, &out->pairs,
                                              &out->correct, &out->top };
    struct plumb_tensor *const of_candidates[] = { &out->score,  &out->ref_sum, &out->label,
                                                   &out->scores, &out->logps,   &out->dscore };
    for (size_t i = 0; i < sizeof of_lists / sizeof *of_lists; i++)
        *of_lists[i] = plumb_part_at(*of_lists[i], low);
    for (size_t i = 0; i < sizeof of_candidates / sizeof *of_candidates; i++)
        *of_candidates[i] = plumb_part_at(*of_candidates[i], c);
    return PLUMB_OK;
}
