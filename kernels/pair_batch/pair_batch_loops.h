/* The batch statistics as plain loops in f64, for what the including file calls `value`: float on
 * the CPU, double in the oracle. STORE makes one of a result. Batches are small beside the tokens
 * that they are of: no threads. */
#pragma once
#include <plumb/pair_batch.h>
#include <string.h>

#include "kernels/pair_batch/batch.h"

static double at(const struct plumb_tensor *t, int64_t i)
{
    return t->data ? (double)((const value *)t->data)[i] : 0;
}

static void put(const struct plumb_tensor *t, int64_t i, double x, enum plumb_dtype round)
{
    ((value *)t->data)[i] = STORE(x, round);
}

/* ---- sorted differences ---- */

static double x_of(const struct plumb_aot *a, int64_t i)
{
    return plumb_aot_x(a->unpaired, at(&a->logps, 2 * i), at(&a->logps, 2 * i + 1),
                       at(&a->ref_sum, 2 * i));
}

static double y_of(const struct plumb_aot *a, int64_t i)
{
    return plumb_aot_y(a->unpaired, at(&a->logps, 2 * i + 1), at(&a->ref_sum, 2 * i),
                       at(&a->ref_sum, 2 * i + 1));
}

/* order[k] = the item of rank k, by merging runs that double in length. */
static void sort(const double *key, int64_t n, int32_t *order, int32_t *spare)
{
    for (int64_t i = 0; i < n; i++)
        order[i] = (int32_t)i;
    for (int64_t run = 1; run < n; run *= 2) {
        for (int64_t low = 0; low < n; low += 2 * run) {
            const int64_t middle = low + run < n ? low + run : n;
            const int64_t high = low + 2 * run < n ? low + 2 * run : n;
            int64_t i = low, j = middle;
            for (int64_t k = low; k < high; k++) {
                const bool second = i == middle ||
                                    (j < high && plumb_batch_before(key[order[j]], order[j],
                                                                    key[order[i]], order[i]));
                spare[k] = order[second ? j++ : i++];
            }
        }
        memcpy(order, spare, (size_t)n * sizeof *order);
    }
}

static void aot(const struct plumb_aot *a, enum plumb_dtype round)
{
    double *x = a->work.data, *y = x + a->B;
    int32_t *by_x = (int32_t *)(y + a->B), *by_y = by_x + a->B, *spare = by_y + a->B;
    for (int64_t i = 0; i < a->B; i++)
        x[i] = x_of(a, i), y[i] = y_of(a, i);
    sort(x, a->B, by_x, spare);
    sort(y, a->B, by_y, spare);
    for (int64_t k = 0; k < a->B; k++) {
        const int64_t i = by_x[k], j = by_y[k];
        const double gap = x[i] - y[j];
        put(&a->gap, a->unpaired ? 2 * i : i, gap, round);
        if (a->unpaired) put(&a->gap, 2 * j + 1, gap, round);
        if (!a->rank) continue;
        a->rank[a->unpaired ? 2 * i : i] = (int32_t)k;
        if (a->unpaired) a->rank[2 * j + 1] = (int32_t)k;
    }
}

/* ---- weights from losses ---- */

static void dr_dpo(const struct plumb_dr_dpo *a, enum plumb_dtype round)
{
    double least = INFINITY, sum = 0;
    for (int64_t i = 0; i < a->B; i++)
        if (!(at(&a->losses, i) >= least)) least = at(&a->losses, i); /* NaN too */
    for (int64_t i = 0; i < a->B; i++)
        sum += exp((least - at(&a->losses, i)) / a->beta_prime);
    for (int64_t i = 0; i < a->B; i++)
        put(&a->weight, i, (double)a->B * exp((least - at(&a->losses, i)) / a->beta_prime) / sum,
            round);
    put(&a->loss, 0, a->B > 0 ? least - a->beta_prime * log(sum / (double)a->B) : 0, round);
}

static double group_mean(const struct plumb_group_robust *a, int64_t g, int64_t *pairs)
{
    double sum = 0;
    *pairs = 0;
    for (int64_t i = 0; i < a->B; i++)
        if (a->group[i] == g) sum += at(&a->losses, i), ++*pairs;
    return *pairs > 0 ? sum / (double)*pairs : 0;
}

static void group_robust(const struct plumb_group_robust *a, enum plumb_dtype round)
{
    int64_t pairs;
    double most = -INFINITY, sum = 0, loss = 0;
    for (int64_t g = 0; g < a->G; g++) {
        const double x = a->step * group_mean(a, g, &pairs);
        if (!(x <= most)) most = x;
    }
    for (int64_t g = 0; g < a->G; g++)
        sum += at(&a->q, g) * exp(a->step * group_mean(a, g, &pairs) - most);
    for (int64_t g = 0; g < a->G; g++) {
        const double mean = group_mean(a, g, &pairs);
        const double q = at(&a->q, g) * exp(a->step * mean - most) / sum;
        loss += q * mean;
        put(&a->q, g, q, round);
        for (int64_t i = 0; i < a->B; i++)
            if (a->group[i] == g) put(&a->weight, i, q * (double)a->B / (double)pairs, round);
    }
    put(&a->loss, 0, loss, round);
}

/* ---- running moments ---- */

static double ratio(const struct plumb_tensor *logps, const struct plumb_tensor *ref, int64_t s)
{
    return at(logps, s) - at(ref, s);
}

/* Difference of the log-ratios of pair i, or of their means over tokens. */
static double gap_of(const struct plumb_tensor *logps, const struct plumb_tensor *ref,
                     const int32_t *offset, int64_t i)
{
    const double w = ratio(logps, ref, 2 * i), l = ratio(logps, ref, 2 * i + 1);
    if (!offset) return w - l;
    const int32_t nw = offset[2 * i + 1] - offset[2 * i];
    const int32_t nl = offset[2 * i + 2] - offset[2 * i + 1];
    return w / (nw > 1 ? nw : 1) - l / (nl > 1 ? nl : 1);
}

static struct plumb_batch_moments moments(int64_t B, const struct plumb_tensor *logps,
                                          const struct plumb_tensor *ref, const int32_t *offset,
                                          double decay, const struct plumb_tensor *state,
                                          enum plumb_dtype round)
{
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < B; i++)
        sum += gap_of(logps, ref, offset, i);
    const double mean = sum / (double)B;
    for (int64_t i = 0; i < B; i++) {
        const double d = gap_of(logps, ref, offset, i) - mean;
        squares += d * d;
    }
    const struct plumb_batch_moments to = plumb_batch_moments_of(at(state, 0), at(state, 1), decay,
                                                                 B, mean, squares);
    put(state, 0, to.m, round);
    put(state, 1, to.s, round);
    return to;
}

static void beta_dpo(const struct plumb_beta_dpo *a, enum plumb_dtype round)
{
    const struct plumb_rng_key key = { a->seed, PLUMB_RNG_SUBSET, a->step };
    const int64_t keep = plumb_batch_kept(a->B, a->drop);
    double *draw = a->work.data, sum = 0;
    int32_t *order = (int32_t *)(draw + a->B), *spare = order + a->B;
    if (a->B == 0) return;
    const struct plumb_batch_moments to = moments(a->B, &a->logps, &a->ref_sum, NULL, a->decay,
                                                  &a->state, round);
    for (int64_t i = 0; i < a->B; i++)
        draw[i] = plumb_batch_draw(&key, i,
                                   plumb_batch_score(to, gap_of(&a->logps, &a->ref_sum, NULL, i)));
    sort(draw, a->B, order, spare);
    for (int64_t k = 0; k < a->B; k++) {
        put(&a->weight, order[k], k < keep ? 1 : 0, round);
        if (k < keep) sum += gap_of(&a->logps, &a->ref_sum, NULL, order[k]);
    }
    const double beta = a->beta * (1 + a->alpha * (sum / (double)keep - to.m));
    for (int64_t i = 0; i < a->B; i++) {
        put(&a->target, 2 * i, (beta < a->least ? a->least : beta) / a->beta, round);
        put(&a->target, 2 * i + 1, 0, round);
    }
}

static void alpha_dpo(const struct plumb_alpha_dpo *a, enum plumb_dtype round)
{
    const int32_t *offset = a->means ? a->offset : NULL;
    if (a->B == 0) return;
    const struct plumb_batch_moments to = moments(a->B, &a->logps, &a->ref_sum, offset, a->decay,
                                                  &a->state, round);
    for (int64_t i = 0; i < a->B; i++)
        put(&a->margin, i,
            a->scale * plumb_batch_score(to, gap_of(&a->logps, &a->ref_sum, offset, i)), round);
}

/* ---- samples of a prompt ---- */

static void leave_one_out(const struct plumb_leave_one_out *a, enum plumb_dtype round)
{
    for (int64_t b = 0; b < a->B; b++) {
        double sum = 0;
        for (int64_t i = b * a->k; i < (b + 1) * a->k; i++)
            sum += at(&a->x, i);
        for (int64_t i = b * a->k; i < (b + 1) * a->k; i++) {
            const double x = at(&a->x, i);
            put(&a->y, i, a->k > 1 ? x - (sum - x) / (double)(a->k - 1) : x, round);
        }
    }
}
