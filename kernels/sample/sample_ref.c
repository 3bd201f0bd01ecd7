/* Oracle of sampling: the whole vocabulary is sorted, cut off, and sorted back, in f64. Logits are
 * f32 after each adjustment, as the contract says; each number after that is rounded to `round`. */
#include "kernels/sample/sample_ref.h"

#include <math.h>
#include <plumb/rng.h>
#include <plumb/sample.h>
#include <stdlib.h>

#include "kernels/sample/sample_row.h"

#define RND(x) plumb_dtype_round(round, x)

static int by_rank(const void *x, const void *y)
{
    const struct plumb_sample_candidate *a = x, *b = y;
    if (a->z != b->z) return a->z > b->z ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

static int by_id(const void *x, const void *y)
{
    const struct plumb_sample_candidate *a = x, *b = y;
    return a->id < b->id ? -1 : 1;
}

static float logit(const struct plumb_logits *l, int64_t m, int64_t v)
{
    int64_t n;
    return *plumb_sample_piece(l, m, v, &n);
}

static void adjust(const struct plumb_sample *a, int64_t m, struct plumb_sample_candidate *c)
{
    for (int64_t v = 0; v < a->logits.vocab; v++)
        c[v] = (struct plumb_sample_candidate){ .z = (double)logit(&a->logits, m, v), .id = v };
    for (int64_t i = a->seen_offset ? a->seen_offset[m] : 0;
         a->seen_offset && i < a->seen_offset[m + 1]; i++) {
        const int32_t v = a->seen[i];
        c[v].z = (double)plumb_sample_penalise(logit(&a->logits, m, v), a->repetition_penalty);
    }
    for (int64_t i = 0; i < a->biases; i++) {
        const int32_t v = a->bias_token[i];
        c[v].z = (double)plumb_sample_add((float)c[v].z, (float)((const double *)a->bias.data)[i]);
    }
}

/* A NaN or +inf, or nothing to choose from. */
static bool hopeless(const struct plumb_sample_candidate *c, int64_t n)
{
    bool any = false;
    for (int64_t v = 0; v < n; v++) {
        if (!(c[v].z < (double)INFINITY)) return true;
        any |= c[v].z > -(double)INFINITY;
    }
    return !any;
}

static double total(const struct plumb_sample_candidate *c, int64_t n, enum plumb_dtype round)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum = RND(sum + c[i].p);
    return sum;
}

/* How many of the sorted candidates are left. */
static int64_t cut(const struct plumb_sample *a, const struct plumb_sample_candidate *c, int64_t n,
                   enum plumb_dtype round)
{
    if (a->top_k && a->top_k < n) n = a->top_k;
    if (a->top_p < 1) {
        const double wanted = RND(a->top_p * total(c, n, round));
        double sum = c[0].p;
        int64_t k = 1;
        while (k < n && sum < wanted)
            sum = RND(sum + c[k++].p);
        n = k;
    }
    while (n > 1 && c[n - 1].z < c[0].z + log(a->min_p))
        n--;
    return n;
}

static int32_t draw(const struct plumb_sample_candidate *c, int64_t n, double uniform,
                    double *probability, enum plumb_dtype round)
{
    const double all = total(c, n, round), wanted = RND(uniform * all);
    double sum = 0;
    int64_t k = 0, found = 0;
    for (; k < n && sum <= wanted; k++) {
        sum = RND(sum + c[k].p);
        if (c[k].p > 0) found = k;
    }
    *probability = RND(c[found].p / all);
    return (int32_t)c[found].id;
}

static int32_t sample_row(const struct plumb_sample *a, int64_t m, double *logp,
                          enum plumb_dtype round)
{
    struct plumb_sample_candidate *c = a->work.data;
    const int64_t V = a->logits.vocab;
    double probability;
    adjust(a, m, c);
    *logp = (double)NAN;
    if (hopeless(c, V)) return -1;
    qsort(c, (size_t)V, sizeof *c, by_rank);
    *logp = 0;
    if (a->greedy) return (int32_t)c[0].id;
    const double largest = c[0].z;
    for (int64_t i = 0; i < V; i++)
        c[i].p = RND(exp(RND(c[i].z - largest)));
    const int64_t n = cut(a, c, V, round);
    qsort(c, (size_t)n, sizeof *c, by_id);
    const struct plumb_rng_key key = { a->seed[m], PLUMB_RNG_SAMPLE, a->sequence[m] };
    const double uniform = plumb_rng_uniform(&key, a->position[m]);
    const int32_t token = draw(c, n, uniform, &probability, round);
    *logp = RND(log(probability));
    return token;
}

void plumb_sample_ref(const struct plumb_sample *a, enum plumb_dtype round)
{
    for (int64_t m = 0; m < a->logits.rows; m++) {
        double logp;
        a->token[m] = sample_row(a, m, &logp, round);
        if (a->logp.data) ((double *)a->logp.data)[m] = logp;
    }
}
