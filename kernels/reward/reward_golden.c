/* Adapters of golden/losses/reward. The published `losses` leave out what is added to a formula
 * (centring, squares), `loss` and gradients hold it: such a case runs twice. */
#include <float.h>
#include <math.h>
#include <plumb/classify.h>
#include <plumb/pointwise.h>
#include <plumb/reduce.h>
#include <plumb/reward.h>
#include <string.h>

#include "tests/golden_run.h"

struct pairs {
    int64_t B;
    double *score, *margin, *target, *sign, *weight;
    double divisor;
};

static void loss_of(struct golden_run *r, const struct pairs *p, struct plumb_reward *a,
                    double *losses, double *dscore)
{
    a->struct_bytes = sizeof *a;
    a->B = p->B;
    a->divisor = p->divisor;
    a->score = golden_in(r, p->score, 2 * p->B);
    a->margin = golden_in(r, p->margin, p->B);
    a->target = golden_in(r, p->target, p->B);
    a->sign = golden_in(r, p->sign, 2 * p->B);
    a->weight = golden_in(r, p->weight, p->B);
    a->losses = golden_out(r, p->B);
    a->dscore = golden_out(r, 2 * p->B);
    if (!golden_ok(r, plumb_reward(r->dev, a))) return;
    memcpy(losses, golden_read(r, &a->losses, p->B), (size_t)p->B * sizeof *losses);
    memcpy(dscore, golden_read(r, &a->dscore, 2 * p->B), 2 * (size_t)p->B * sizeof *dscore);
}

/* a and b by turns. */
static double *twined(struct golden_run *r, const char *a, const char *b)
{
    int64_t n;
    const double *x = golden_input(r, a, &n), *y = golden_input(r, b, &n);
    double *out = golden_alloc(r, 2 * (size_t)n * sizeof *out);
    for (int64_t i = 0; x && y && i < n; i++)
        out[2 * i] = x[i], out[2 * i + 1] = y[i];
    return x && y ? out : NULL;
}

static void report_scores(struct golden_run *r, const struct pairs *p)
{
    const double n = (double)p->B;
    double accuracy = 0, margin = 0, least = DBL_MAX, most = -DBL_MAX, mean = 0;
    for (int64_t i = 0; i < p->B; i++) {
        const double c = p->score[2 * i], l = p->score[2 * i + 1];
        accuracy += (c > l) / n, margin += (c - l) / n, mean += (c + l) / (2 * n);
        least = fmin(least, fmin(c, l)), most = fmax(most, fmax(c, l));
    }
    golden_value(r, "metrics", "accuracy", accuracy);
    golden_value(r, "metrics", "margin", margin);
    golden_value(r, "metrics", "min_reward", least);
    golden_value(r, "metrics", "mean_reward", mean);
    golden_value(r, "metrics", "max_reward", most);
    double right = 0;
    for (int64_t i = 0; p->sign && i < 2 * p->B; i++)
        right += (p->sign[i] * p->score[i] < 0) / (2 * n);
    golden_value(r, "metrics", "accuracy_sign", right);
}

static void report(struct golden_run *r, const struct pairs *p, const char *chosen,
                   const char *rejected, const double *plain, const double *losses,
                   const double *dscore)
{
    double sum = 0;
    double *d[2] = { golden_alloc(r, (size_t)p->B * 8), golden_alloc(r, (size_t)p->B * 8) };
    for (int64_t i = 0; i < p->B; i++) {
        sum += losses[i];
        d[0][i] = dscore[2 * i], d[1][i] = dscore[2 * i + 1];
    }
    golden_value(r, NULL, "loss", sum / p->divisor);
    golden_values(r, NULL, "losses", plain, p->B);
    golden_values(r, "grads", chosen, d[0], p->B);
    golden_values(r, "grads", rejected, d[1], p->B);
    report_scores(r, p);
}

static void run_pairs(struct golden_run *r, const struct pairs *p, const struct plumb_reward *call,
                      const char *chosen, const char *rejected)
{
    double *plain = golden_alloc(r, (size_t)p->B * 8), *losses = golden_alloc(r, (size_t)p->B * 8);
    double *dscore = golden_alloc(r, (size_t)p->B * 16);
    struct plumb_reward a = *call;
    a.center_coefficient = a.square_coefficient = 0;
    loss_of(r, p, &a, plain, dscore);
    a = *call;
    loss_of(r, p, &a, losses, dscore);
    report(r, p, chosen, rejected, plain, losses, dscore);
}

/* How a golden of scalar scores is a formula of ours. */
struct alias {
    const char *formula;
    const char *margins; /* the field that takes the input `margins`, NULL = none */
    const char *ties;    /* the option that is `ties` */
};

static void scores(struct golden_run *r, const void *how)
{
    const struct alias *m = how;
    int64_t n;
    double *const margins = (double *)golden_input(r, "margins", &n);
    double *target = (double *)golden_input(r, "preference_probs", &n);
    if (!target) target = (double *)golden_input(r, "tie_labels", &n);
    struct pairs p = { .B = golden_input_rows(r, "chosen_rewards"),
                       .score = twined(r, "chosen_rewards", "rejected_rewards"),
                       .target = target };
    if (m->margins && !strcmp(m->margins, "margin")) p.margin = margins;
    if (m->margins && !strcmp(m->margins, "weight")) p.weight = margins;
    p.divisor = (double)p.B;
    const struct plumb_reward a = { .loss = (enum plumb_reward_loss)plumb_reward_find(m->formula),
                                    .center_coefficient = golden_option(
                                        r, "center_rewards_coefficient", 0),
                                    .ties = m->ties ? golden_option(r, m->ties, 0) : 0 };
    run_pairs(r, &p, &a, "chosen_rewards", "rejected_rewards");
}

/* Without the signs' terms the cost model is Bradley-Terry. */
static void cost_model(struct golden_run *r, const void *how)
{
    (void)how;
    const struct pairs p = { .B = golden_input_rows(r, "higher_costs"),
                             .score = twined(r, "higher_costs", "lower_costs"),
                             .sign = twined(r, "higher_is_safe_sign", "lower_is_safe_sign"),
                             .divisor = (double)golden_input_rows(r, "higher_costs") };
    const bool alone = !strcmp(golden_option_text(r, "loss_type"), "sequence-wise-bt");
    const struct plumb_reward a = { .loss = alone ? PLUMB_REWARD_BRADLEY_TERRY
                                                  : PLUMB_REWARD_COST_MODEL,
                                    .square_coefficient = golden_option(r, "regularization", 0) };
    run_pairs(r, &p, &a, "higher_costs", "lower_costs");
}

/* Positions of two padded rows that count: from the first token that differs to the later end. */
static void counted(struct golden_run *r, int64_t row, int64_t T, int64_t *first, int64_t *end)
{
    int64_t n;
    const double *low = golden_input(r, "lower_token_ids", &n) + row * T;
    const double *high = golden_input(r, "higher_token_ids", &n) + row * T;
    const double *low_mask = golden_input(r, "lower_mask", &n) + row * T;
    const double *high_mask = golden_input(r, "higher_mask", &n) + row * T;
    for (*first = 0; *first < T && low[*first] == high[*first];)
        ++*first;
    for (*end = T; *end > 0 && low_mask[*end - 1] == 0 && high_mask[*end - 1] == 0;)
        --*end;
}

/* A pair per position, each weighted by one over its row's positions. */
static void cost_model_tokenwise(struct golden_run *r, const void *how)
{
    (void)how;
    int64_t n, m, first, end;
    const double *costs[2] = { golden_input(r, "higher_costs", &n),
                               golden_input(r, "lower_costs", &n) };
    const double *signs[2] = { golden_input(r, "higher_is_safe_sign", &m),
                               golden_input(r, "lower_is_safe_sign", &m) };
    const int64_t rows = golden_input_rows(r, "higher_costs"), T = n / rows;
    const size_t bytes = (size_t)n * sizeof(double);
    double *losses = golden_alloc(r, bytes), *dscore = golden_alloc(r, 2 * bytes);
    double *row = golden_alloc(r, bytes), sum = 0;
    double *d[2] = { golden_alloc(r, bytes), golden_alloc(r, bytes) };
    const struct pairs p = { .B = n,
                             .score = golden_alloc(r, 2 * bytes),
                             .sign = golden_alloc(r, 2 * bytes),
                             .weight = golden_alloc(r, bytes),
                             .divisor = (double)rows };
    for (int64_t i = 0; i < n; i++) {
        counted(r, i / T, T, &first, &end);
        p.weight[i] = i % T >= first && i % T < end ? 1 / (double)(end - first) : 0;
        for (int k = 0; k < 2; k++)
            p.score[2 * i + k] = costs[k][i], p.sign[2 * i + k] = signs[k][i / T];
    }
    struct plumb_reward a = { .loss = PLUMB_REWARD_COST_MODEL,
                              .square_coefficient = golden_option(r, "regularization", 0) };
    loss_of(r, &p, &a, losses, dscore);
    for (int64_t i = 0; i < n; i++) {
        sum += losses[i], row[i / T] += losses[i];
        d[0][i] = dscore[2 * i], d[1][i] = dscore[2 * i + 1];
    }
    golden_value(r, NULL, "loss", sum / p.divisor);
    golden_values(r, NULL, "losses", row, rows);
    golden_values(r, "grads", "higher_costs", d[0], n);
    golden_values(r, "grads", "lower_costs", d[1], n);
}

static struct plumb_segsum segments(struct golden_run *r, const struct golden_rows *rows,
                                    const char *name)
{
    return (struct plumb_segsum){
        .struct_bytes = sizeof(struct plumb_segsum),
        .M = rows->M,
        .R = rows->B,
        .offset = golden_copy(r, rows->offset, (size_t)(rows->B + 1) * sizeof *rows->offset),
        .scale = golden_option(r, "alpha", 0),
        .discount = golden_option(r, "gamma", 0),
        .x = golden_in(r, golden_packed(r, rows, name), rows->M),
        .y = golden_out(r, rows->B),
        .dx = golden_out(r, rows->M),
    };
}

/* Scores are alpha times discounted sums of both segments' log-probs: segsum, loss, segsum back. */
static void cpl(struct golden_run *r, const void *how)
{
    (void)how;
    static const char *const name[2] = { "chosen_logps", "rejected_logps" };
    const struct golden_rows rows = golden_rows_of(r, name[0], "mask");
    const size_t bytes = (size_t)rows.B * sizeof(double);
    struct plumb_segsum sum[2] = { segments(r, &rows, name[0]), segments(r, &rows, name[1]) };
    const struct pairs p = { .B = rows.B,
                             .score = golden_alloc(r, 2 * bytes),
                             .divisor = (double)rows.B };
    for (int k = 0; k < 2; k++) {
        if (!golden_ok(r, plumb_segsum_fwd(r->dev, &sum[k]))) return;
        const double *y = golden_read(r, &sum[k].y, rows.B);
        for (int64_t i = 0; i < rows.B; i++)
            p.score[2 * i + k] = y[i];
    }
    double *losses = golden_alloc(r, bytes), *dscore = golden_alloc(r, 2 * bytes), total = 0;
    double *dy = golden_alloc(r, bytes);
    struct plumb_reward a = { .loss = PLUMB_REWARD_CPL, .bias = golden_option(r, "lambda", 1) };
    loss_of(r, &p, &a, losses, dscore);
    for (int64_t i = 0; i < rows.B; i++)
        total += losses[i];
    golden_value(r, NULL, "loss", total / p.divisor);
    golden_values(r, NULL, "losses", losses, rows.B);
    for (int k = 0; k < 2; k++) {
        for (int64_t i = 0; i < rows.B; i++)
            dy[i] = dscore[2 * i + k];
        sum[k].dy = golden_in(r, dy, rows.B);
        if (!golden_ok(r, plumb_segsum_bwd(r->dev, &sum[k]))) return;
        golden_packed_values(r, &rows, "grads", name[k], golden_read(r, &sum[k].dx, rows.M));
    }
}

static void ratings(struct golden_run *r, const void *how)
{
    int64_t n, m;
    const double *target = golden_input(r, "targets", &n), *score = golden_input(r, "rewards", &n);
    const double *mask = golden_input(r, "mask", &m);
    double present = mask ? 0 : (double)n, sum = 0;
    for (int64_t i = 0; mask && i < n; i++)
        present += mask[i];
    const double divisor = fmax(present, 1);
    const struct plumb_pointwise a = {
        .struct_bytes = sizeof a,
        .loss = (enum plumb_pointwise_loss)plumb_pointwise_find(how),
        .N = n,
        .score = golden_in(r, score, n),
        .target = golden_in(r, target ? target : golden_input(r, "labels", &n), n),
        .weight = golden_in(r, mask, n),
        .pos_weight = golden_option(r, "pos_weight", 1),
        .divisor = divisor,
        .losses = golden_out(r, n),
        .dscore = golden_out(r, n),
    };
    if (!golden_ok(r, plumb_pointwise(r->dev, &a))) return;
    const double *losses = golden_read(r, &a.losses, n);
    for (int64_t i = 0; i < n; i++)
        sum += losses[i];
    golden_value(r, NULL, "loss", sum / divisor);
    golden_values(r, NULL, "losses", losses, n);
    golden_values(r, "grads", "rewards", golden_read(r, &a.dscore, n), n);
}

static void process_reward(struct golden_run *r, const void *how)
{
    (void)how;
    int64_t n, size;
    const double *labels = golden_input(r, "labels", &n),
                 *logits = golden_input(r, "logits", &size);
    int32_t *label = golden_alloc(r, (size_t)n * sizeof *label);
    double divisor = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        label[i] = labels[i] < 0 ? -1 : (int32_t)labels[i];
        divisor += labels[i] >= 0;
    }
    divisor = fmax(divisor, 1);
    const struct plumb_classify a = { .struct_bytes = sizeof a,
                                      .loss = PLUMB_CLASSIFY_SOFTMAX,
                                      .N = n,
                                      .K = size / n,
                                      .logits = golden_in(r, logits, size),
                                      .label = golden_copy(r, label, (size_t)n * sizeof *label),
                                      .divisor = divisor,
                                      .losses = golden_out(r, n),
                                      .dlogits = golden_out(r, size) };
    if (!golden_ok(r, plumb_classify(r->dev, &a))) return;
    const double *losses = golden_read(r, &a.losses, n);
    for (int64_t i = 0; i < n; i++)
        sum += losses[i];
    golden_value(r, NULL, "loss", sum / divisor);
    golden_values(r, "grads", "logits", golden_read(r, &a.dlogits, size), size);
}

#define ALIAS(formula, margins, ties) (&(const struct alias){ formula, margins, ties })
extern const struct golden_member golden_reward[];
const struct golden_member golden_reward[] = {
    { "reward/bradley_terry", scores, ALIAS("bradley_terry", NULL, NULL) },
    { "reward/bradley_terry_margin", scores, ALIAS("bradley_terry", "margin", NULL) },
    { "reward/bradley_terry_centered", scores, ALIAS("bradley_terry", "margin", NULL) },
    { "reward/bradley_terry_scaled", scores, ALIAS("bradley_terry", "weight", NULL) },
    { "reward/bradley_terry_soft", scores, ALIAS("bradley_terry_soft", NULL, NULL) },
    { "reward/log_exp", scores, ALIAS("bradley_terry", NULL, NULL) }, /* it ignores margins */
    { "reward/davidson", scores, ALIAS("davidson", NULL, "nu") },
    { "reward/rao_kupper", scores, ALIAS("rao_kupper", NULL, "theta") },
    { "reward/cost_model", cost_model, NULL },
    { "reward/cost_model_tokenwise", cost_model_tokenwise, NULL },
    { "reward/cpl", cpl, NULL },
    { "reward/multi_head_regression", ratings, "square" },
    { "reward/pointwise_bce", ratings, "bce" },
    { "reward/process_reward", process_reward, NULL },
    { 0 },
};
