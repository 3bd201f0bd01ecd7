/* Cases of the classification losses. dim: N rows, id of the formula, K logits a row, 1 = a third
 * of the rows are ignored. */
#include <plumb/classify.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) { #name, { 23, ID, 5, 1 } },
#include <plumb/classify.def>
#undef PLUMB_FORMULA
    { "one class", { 7, PLUMB_CLASSIFY_SOFTMAX, 1 } },
    { "steps, several blocks", { 4100, PLUMB_CLASSIFY_SOFTMAX, 2, 1 } },
    { "most classes, several blocks", { 35, PLUMB_CLASSIFY_SOFTMAX, 256 } },
    { "no rows", { 0, PLUMB_CLASSIFY_ORDINAL, 3 } },
    { "1M steps", { 1 << 20, PLUMB_CLASSIFY_SOFTMAX, 2, 1 }, .bench = true },
    { "64k verdicts of eight", { 1 << 16, PLUMB_CLASSIFY_SOFTMAX, 8 }, .bench = true },
};

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_classify *a = args;
    *a = (struct plumb_classify){ .struct_bytes = sizeof *a,
                                  .loss = (enum plumb_classify_loss)c->dim[1],
                                  .N = c->dim[0],
                                  .K = c->dim[2],
                                  .divisor = 3.5 };
    const uint64_t labels = (uint64_t)a->K + (a->loss == PLUMB_CLASSIFY_ORDINAL);
    int32_t *label = plumb_case_index(m, a->N);
    for (int64_t n = 0; n < a->N; n++) {
        label[n] = (int32_t)plumb_case_below(m, labels);
        if (c->dim[3] && plumb_case_below(m, 3) == 0) label[n] = -1;
    }
    a->label = label;
    plumb_case_in(m, &a->logits, &a->dlogits, PLUMB_CASE_STAT, "logits", a->N * a->K, -4, 4);
    plumb_case_out(m, &a->losses, NULL, PLUMB_CASE_STAT, "losses", a->N);
    plumb_case_objective(m, &a->losses, 1 / a->divisor);
}

/* Reads logits and labels, writes losses and gradients. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : 8.0 * (double)c->dim[0] * (double)(1 + c->dim[2]);
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_classify(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_classify_ref(a, round); }

extern const struct plumb_op plumb_op_classify[];
const struct plumb_op plumb_op_classify[] = {
    { .name = "classify",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_classify),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .bytes = bytes,
      .f32_only = true },
    { 0 },
};
