/* Cases of the listwise losses. dim: L lists, id of the formula, longest list, longest completion
 * (0 = scores are given), reference (0 per token, 1 per sequence, 2 none), 1 = some candidates are
 * masked, 1 = labels of three values. opt: beta, length_penalty, sft_weight, sft_length_penalty. */
#include <plumb/listwise.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) { #name, { 7, ID, 9, 6, 0, 1 }, { 0.2 } },
#include <plumb/listwise.def>
#undef PLUMB_FORMULA
#define PLUMB_FORMULA(ID, NAME, name, text)                                                        \
    { #name " of scores", { 6, ID, 12, 0, 0, 1, 1 }, { 1 } },
#include <plumb/listwise.def>
#undef PLUMB_FORMULA
    { "means and likelihood", { 6, PLUMB_LIST_PRO, 5, 9, 2 }, { 1, 1, 0.05 } },
    { "length penalty", { 6, PLUMB_LIST_RRHF, 5, 9, 2, 1 }, { 0.5, 0.6, 1.5, 1 } },
    { "reference sums", { 5, PLUMB_LIST_LIST_MLE, 4, 20, 1 }, { 0.1 } },
    { "long sequences", { 2, PLUMB_LIST_LIST_NET, 3, 4000, 0 }, { 0.01 } },
    { "lists of a hundred", { 3, PLUMB_LIST_LAMBDA_RANK, 200, 0, 0, 1 }, { 0.7 } },
    { "lists of a thousand", { 3, PLUMB_LIST_LIST_MLE, 1800, 0, 0, 1, 1 }, { 1 } },
    { "many short lists", { 700, PLUMB_LIST_PAIR_LOGISTIC, 3, 2, 1, 1, 1 }, { 0.3 } },
    { "no lists", { 0, PLUMB_LIST_LIST_MLE, 4, 0 }, { 1 } },
    { "512 lists of 8, 512 tokens", { 512, PLUMB_LIST_LIST_MLE, 16, 512 }, { 0.1 }, .bench = true },
    { "8k lists of 16 scores", { 8192, PLUMB_LIST_LIST_NET, 31, 0 }, { 1 }, .bench = true },
};

static void inputs(const struct plumb_case *c, struct plumb_case_mem *m, struct plumb_listwise *a)
{
    if (!c->dim[3]) {
        plumb_case_in(m, &a->score, &a->dscore, PLUMB_CASE_STAT, "score", a->C, -3, 3);
        return;
    }
    int32_t *offset = plumb_case_index(m, a->C + 1);
    for (int64_t r = 0; r < a->C; r++) /* one completion is empty */
        offset[r + 1] = offset[r] +
                        (int32_t)(r == 2 ? 0 : 1 + plumb_case_below(m, (uint64_t)c->dim[3]));
    a->offset = offset;
    plumb_case_in(m, &a->logp, &a->dlogp, PLUMB_CASE_STAT, "logp", offset[a->C], -4, 0);
    if (c->dim[4] == 0)
        plumb_case_in(m, &a->ref_logp, NULL, PLUMB_CASE_STAT, "ref_logp", offset[a->C], -4, 0);
    if (c->dim[4] == 1)
        plumb_case_in(m, &a->ref_sum, NULL, PLUMB_CASE_STAT, "ref_sum", a->C, -40, -10);
    plumb_case_out(m, &a->dscore, NULL, PLUMB_CASE_STAT, "dscore", a->C);
    plumb_case_out(m, &a->scores, NULL, PLUMB_CASE_STAT, "scores", a->C);
    plumb_case_out(m, &a->logps, NULL, PLUMB_CASE_STAT, "logps", a->C);
}

static void labels(const struct plumb_case *c, struct plumb_case_mem *m, struct plumb_listwise *a)
{
    double *label = plumb_case_bytes(m, (size_t)(a->C + 1) * sizeof *label);
    for (int64_t i = 0; i < a->C; i++)
        label[i] = c->dim[6] ? 0.5 * (double)plumb_case_below(m, 3)
                             : (double)plumb_case_below(m, 4097) / 4096;
    plumb_case_in_values(m, &a->label, NULL, PLUMB_CASE_STAT, "label", a->C, label);
    if (!c->dim[5]) return;
    int32_t *mask = plumb_case_index(m, a->C);
    for (int64_t i = 0; i < a->C; i++)
        mask[i] = plumb_case_below(m, 5) > 0;
    a->mask = mask;
    plumb_case_in(m, &a->weight, NULL, PLUMB_CASE_STAT, "weight", a->L, 0.5, 2);
}

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_listwise *a = args;
    *a = (struct plumb_listwise){ .struct_bytes = sizeof *a,
                                  .loss = (enum plumb_listwise_loss)c->dim[1],
                                  .L = c->dim[0],
                                  .beta = c->opt[0],
                                  .length_penalty = c->opt[1],
                                  .sft_weight = c->opt[2],
                                  .sft_length_penalty = c->opt[3],
                                  .label_temperature = 0.75,
                                  .margin = 0.6,
                                  .lambda = 0.8,
                                  .top_k = c->dim[5] ? 5 : 0,
                                  .divisor = 3.5 };
    int32_t *list = plumb_case_index(m, a->L + 1);
    for (int64_t l = 0; l < a->L; l++) /* one list is empty, one of one candidate */
        list[l + 1] = list[l] + (int32_t)(l == 3   ? 0
                                          : l == 4 ? 1
                                                   : 1 + plumb_case_below(m, (uint64_t)c->dim[2]));
    a->list = list, a->C = list[a->L];
    inputs(c, m, a);
    labels(c, m, a);
    plumb_case_out(m, &a->losses, NULL, PLUMB_CASE_STAT, "losses", a->L);
    plumb_case_out(m, &a->pairs, NULL, PLUMB_CASE_STAT, "pairs", a->L);
    plumb_case_out(m, &a->correct, NULL, PLUMB_CASE_STAT, "correct", a->L);
    plumb_case_out(m, &a->top, NULL, PLUMB_CASE_STAT, "top", a->L);
    plumb_case_objective(m, &a->losses, 1 / a->divisor);
}

/* Tokens: reads logp and ref_logp, writes dlogp; scores: reads them and labels, writes dscore and
 * four rows a list, whose bounds it reads. Half of the longest is the mean. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    const double candidates = (double)c->dim[0] * (double)(c->dim[2] + 1) / 2;
    if (backward) return 0;
    return c->dim[3] ? 6.0 * candidates * (double)(c->dim[3] + 1)
                     : 12.0 * candidates + 20.0 * (double)c->dim[0];
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_listwise(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_listwise_ref(a, round); }
static size_t workspace(const struct plumb_device *d, const void *a)
{
    return plumb_listwise_workspace(d, a);
}

extern const struct plumb_op plumb_op_listwise[];
const struct plumb_op plumb_op_listwise[] = {
    { .name = "listwise",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_listwise),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .workspace = workspace,
      .work_offset = offsetof(struct plumb_listwise, work),
      .bytes = bytes,
      .f32_only = true },
    { 0 },
};
