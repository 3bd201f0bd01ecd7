/* Sampling against exact distributions: chi-square of many draws; every token within rounding of
 * the oracle's. */
#include "tests/tensor.h"

#include "kernels/sample/sample_fixture.h"

static void run_here(const struct plumb_device *dev, struct plumb_sample *a)
{
    a->work.data = bytes(plumb_sample_workspace(dev, a));
    cr_assert_eq(plumb_sample(dev, a), PLUMB_OK, "%s", plumb_errmsg());
    free(a->work.data);
}

/* The oracle's tokens and log-probs. */
static void run_oracle(struct rows *r, int32_t *token)
{
    struct plumb_sample a = r->a;
    for (int64_t i = 0; i < a.biases; i++)
        r->wide[i] = (double)r->bias[i];
    a.logits.z = r->z;
    a.bias_token = r->bias_token;
    a.bias = (struct plumb_tensor){ r->wide, PLUMB_F64 };
    a.seed = r->seed, a.sequence = r->sequence, a.position = r->position;
    a.token = token;
    a.logp = (struct plumb_tensor){ r->logp_wide, PLUMB_F64 };
    run_here(&plumb_ref, &a);
}

/* ---- the exact distribution of a row, by counting who stands before whom ---- */

static double adjusted(const struct rows *r, int64_t m, int64_t v)
{
    double z = (double)r->z[m * r->V + v];
    const double penalty = r->a.repetition_penalty;
    bool seen = false;
    for (int64_t i = 0; r->a.seen_offset && i < SEEN; i++)
        seen |= r->seen[m * SEEN + i] == v;
    if (seen) z = (double)(float)(z > 0 ? z / penalty : z * penalty);
    for (int64_t i = 0; i < r->a.biases; i++)
        if (r->bias_token[i] == v) z = (double)(float)(z + (double)r->bias[i]);
    return z;
}

static void exact(const struct rows *r, int64_t m, double *p)
{
    const int64_t V = r->V, k = r->a.top_k ? r->a.top_k : V;
    double *z = bytes((size_t)V * sizeof *z), *before = bytes((size_t)V * sizeof *before);
    int64_t *rank = bytes((size_t)V * sizeof *rank);
    double most = -(double)INFINITY, all = 0, sum = 0;
    for (int64_t v = 0; v < V; v++) {
        z[v] = adjusted(r, m, v);
        if (z[v] > most) most = z[v];
    }
    for (int64_t v = 0; v < V; v++)
        for (int64_t u = 0; u < V; u++)
            rank[v] += z[u] > z[v] || (z[u] == z[v] && u < v);
    for (int64_t v = 0; v < V; v++)
        all += rank[v] < k ? exp(z[v] - most) : 0;
    for (int64_t v = 0; v < V; v++)
        for (int64_t u = 0; u < V; u++)
            if (rank[u] < rank[v]) before[v] += exp(z[u] - most) / all;
    for (int64_t v = 0; v < V; v++) {
        const bool in_p = r->a.top_p == 1 || before[v] < r->a.top_p;
        p[v] = rank[v] < k && in_p && exp(z[v] - most) >= r->a.min_p ? exp(z[v] - most) : 0;
        sum += p[v];
    }
    for (int64_t v = 0; v < V; v++)
        p[v] /= sum;
    free(z);
    free(before);
    free(rank);
}

/* ---- chi-square ---- */

/* What chi-square with `df` degrees of freedom exceeds once in a million (Wilson and Hilferty,
 * 1931). */
static double bound(int df)
{
    const double c = 2.0 / (9 * df), t = 1 - c + 4.7534 * sqrt(c);
    return df * t * t * t;
}

/* Draws from one row of `r` over and over, as rows of many keys, and compares how often each token
 * came with its exact probability. Classes of fewer than ten expected draws are joined. */
static void check_draws(struct rows *r, const char *what)
{
    const int64_t draws = plumb_device_is_host(plumb_test_device()) ? 100000 : 1000;
    double *p = bytes((size_t)r->V * sizeof *p), chi = 0, rest = 0;
    int64_t *count = bytes((size_t)r->V * sizeof *count), rest_count = 0;
    int classes = 0;
    for (int64_t m = 1; m < r->M; m++) {
        memcpy(r->z + m * r->V, r->z, (size_t)r->V * sizeof *r->z);
        memcpy(r->seen + m * SEEN, r->seen, SEEN * sizeof *r->seen);
    }
    exact(r, 0, p);
    for (int64_t n = 0; n < draws; n += r->M) {
        for (int64_t m = 0; m < r->M; m++)
            r->sequence[m] = (uint64_t)n;
        run(r);
        for (int64_t m = 0; m < r->M; m++) {
            cr_assert(r->token[m] >= 0 && p[r->token[m]] > 0, "%s: token %d", what, r->token[m]);
            cr_assert_float_eq(r->logp[m], log(p[r->token[m]]), 2e-6, "%s: token %d", what,
                               r->token[m]);
            count[r->token[m]]++;
        }
    }
    for (int64_t v = 0; v < r->V; v++) {
        const double expected = p[v] * (double)draws, off = (double)count[v] - expected;
        if (expected < 10)
            rest += expected, rest_count += count[v];
        else
            chi += off * off / expected, classes++;
    }
    if (rest >= 10) chi += ((double)rest_count - rest) * ((double)rest_count - rest) / rest;
    classes += rest >= 10;
    cr_assert_gt(classes, 1);
    cr_expect_lt(chi, bound(classes - 1), "%s: chi-square %.1f of %d classes, bound %.1f", what,
                 chi, classes, bound(classes - 1));
    free(p);
    free(count);
}

Test(sample, draws_follow_the_exact_distributions, .timeout = 280)
{
    static const struct {
        const char *what;
        int64_t top_k;
        double top_p, min_p, penalty;
        bool biased;
    } table[] = {
        { "temperature", 0, 1, 0, 1, false }, { "top-k", 13, 1, 0, 1, false },
        { "top-p", 0, 0.8, 0, 1, false },     { "min-p", 0, 1, 0.1, 1, false },
        { "penalty", 0, 1, 0, 1.5, false },   { "bias", 0, 1, 0, 1, true },
        { "all", 30, 0.9, 0.02, 1.2, true },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct rows r = rows_of(1000, 60);
        fill(&r, 2.5);
        r.a.top_k = table[i].top_k, r.a.top_p = table[i].top_p, r.a.min_p = table[i].min_p;
        if (table[i].penalty != 1) add_penalty(&r, table[i].penalty);
        if (table[i].biased) add_biases(&r);
        check_draws(&r, table[i].what);
        release(&r);
    }
}

/* ---- the oracle ---- */

/* Rounding may move a boundary between two tokens past the random number, nothing else. */
static void check_near(const struct rows *r, int64_t m, int32_t a, int32_t b)
{
    const struct plumb_rng_key key = { r->seed[m], PLUMB_RNG_SAMPLE, r->sequence[m] };
    double *p = bytes((size_t)r->V * sizeof *p), sum = 0;
    exact(r, m, p);
    for (int64_t v = 0; v <= (a < b ? a : b); v++)
        sum += p[v];
    cr_expect_float_eq(sum, plumb_rng_uniform(&key, r->position[m]), 2e-6, "row %lld: %d and %d",
                       (long long)m, a, b);
    free(p);
}

static void check_oracle(struct rows *r, double spread)
{
    int32_t *token = bytes((size_t)r->M * sizeof *token);
    int64_t differ = 0;
    fill(r, spread);
    run(r);
    run_oracle(r, token);
    for (int64_t m = 0; m < r->M; m++) {
        if (r->token[m] == token[m]) {
            cr_expect_float_eq(r->logp[m], r->logp_wide[m], 2e-6);
            continue;
        }
        check_near(r, m, r->token[m], token[m]);
        differ++;
    }
    cr_expect_leq(differ, 1 + r->M / 100);
    free(token);
}

Test(sample, tokens_are_the_oracles, .timeout = 280)
{
    static const double spread[3] = { 0.2, 3, 12 };
    for (int i = 0; i < 24; i++) {
        struct rows r = rows_of(plumb_device_is_host(plumb_test_device()) ? 100 : 16,
                                200 + 471 * (i % 8));
        r.a.top_k = i % 3 == 1 ? 40 + 9 * i : 0;
        r.a.top_p = i % 4 > 1 ? 0.35 + 0.025 * i : 1;
        r.a.min_p = i % 5 == 1 ? 0.01 * i : 0;
        if (i % 6 > 3) add_penalty(&r, 0.8 + 0.05 * i);
        if (i % 7 > 4) add_biases(&r);
        check_oracle(&r, spread[i % 3]);
        release(&r);
    }
}
