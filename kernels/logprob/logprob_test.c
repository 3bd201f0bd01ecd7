/* The head's promises: refusals, odd rows, bits that do not depend on the batch, identities. */
#include "kernels/logprob/logprob_fixture.h"
#include "kernels/logprob/logprob_plan.h"
#include "tests/tensor.h"

static void expect_refused(int rc, const char *text)
{
    cr_expect_eq(rc, PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), text), "message was: %s", plumb_errmsg());
}

static void expect_bits(const struct plumb_tensor *a, int64_t i, const struct plumb_tensor *b,
                        int64_t j, const char *what)
{
    cr_expect_eq(plumb_bits_of_f32(((const float *)a->data)[i]),
                 plumb_bits_of_f32(((const float *)b->data)[j]), "%s: %.9g and %.9g", what,
                 head_get(a, i), head_get(b, j));
}

static void expect_same_pair(const struct head *a, int64_t i, const struct head *b, int64_t j)
{
    expect_bits(&a->a.logp, i, &b->a.logp, j, "logp");
    expect_bits(&a->a.lse, i, &b->a.lse, j, "lse");
    expect_bits(&a->a.entropy, i, &b->a.entropy, j, "entropy");
    expect_bits(&a->a.log_sum_sq, i, &b->a.log_sum_sq, j, "log_sum_sq");
    expect_bits(&a->a.mean_logit, i, &b->a.mean_logit, j, "mean_logit");
    cr_expect_eq(a->argmax[i], b->argmax[j]);
}

Test(logprob, refuses_bad_pairs_by_name_and_number)
{
    struct head h;
    head_init(&h, &plumb_cpu, PLUMB_F32, 3, 4, 10, 5);
    h.target[3] = 10;
    expect_refused(plumb_logprob_fwd(&plumb_cpu, &h.a), "target[3]=10");
    h.target[3] = -100;
    expect_refused(plumb_logprob_bwd(&plumb_cpu, &h.a), "target[3]=-100");
    h.target[3] = 7;
    h.a.valid_vocab = 7;
    for (int i = 0; i < 3; i++)
        h.target[i] = 0;
    expect_refused(plumb_logprob_fwd(&plumb_ref, &h.a), "target[3]=7, must be -1 (skip) or 0 to 6");
    h.row[2] = 3;
    expect_refused(plumb_logprob_fwd(&plumb_cpu, &h.a), "row[2]=3, must be 0 to 2");
    h.row[2] = -1;
    expect_refused(plumb_logprob_fused(&plumb_cpu, &h.a), "row[2]=-1");
    head_release(&h);
}

Test(logprob, refuses_bad_options_and_groups_by_name)
{
    struct head h;
    head_init(&h, &plumb_cpu, PLUMB_F32, 3, 4, 10, 5);
    const struct plumb_logprob good = h.a;
    int32_t group[] = { 0, 3, 2, 4 };
#define REFUSED(field, value, entry, text)                                                         \
    do {                                                                                           \
        h.a.field = value;                                                                         \
        expect_refused(entry(&plumb_cpu, &h.a), text);                                             \
        h.a = good;                                                                                \
    } while (0)
    REFUSED(struct_bytes, 8, plumb_logprob_fwd, "struct_bytes is 8");
    REFUSED(temperature, 0, plumb_logprob_fwd, "temperature=0");
    REFUSED(temperature, (double)NAN, plumb_logprob_fwd, "temperature=nan");
    REFUSED(softcap, -1, plumb_logprob_fwd, "softcap=-1");
    REFUSED(logit_scale, 0, plumb_logprob_bwd, "logit_scale=0");
    REFUSED(valid_vocab, 11, plumb_logprob_fwd, "valid_vocab=11");
    REFUSED(V, INT64_MAX / 16, plumb_logprob_fwd, "too large");
    REFUSED(M, -1, plumb_logprob_fwd, "M=-1");
    REFUSED(w.dtype, PLUMB_BF16, plumb_logprob_fwd, "w cannot be bfloat16");
    REFUSED(logp.data, NULL, plumb_logprob_fwd, "logp is missing");
    REFUSED(work.data, NULL, plumb_logprob_fwd, "work is missing");
    REFUSED(dw.dtype, PLUMB_BF16, plumb_logprob_bwd, "dw cannot be bfloat16");
    REFUSED(groups, 0, plumb_logprob_fused, "groups=0");
    REFUSED(groups, 3, plumb_logprob_fused, "group is missing");
    h.a.group = group;
    h.a.groups = 3;
    expect_refused(plumb_logprob_fused(&plumb_cpu, &h.a), "epilogue is missing");
    h.a.epilogue = (plumb_logprob_epilogue *)abort;
    expect_refused(plumb_logprob_fused(&plumb_cpu, &h.a), "group[2]=2 is below the one before, 3");
    group[2] = 3;
    expect_refused(plumb_logprob_fused(&plumb_cpu, &h.a), "the last group ends at 4, M is 5");
    group[0] = 1;
    expect_refused(plumb_logprob_fused(&plumb_cpu, &h.a), "group[0]=1");
    h.a = good;
    h.a.V = 0;
    cr_expect_eq(plumb_logprob_workspace(&plumb_cpu, &h.a), 0);
    head_release(&h);
}

Test(logprob, skipped_pairs_give_zeros_and_clear_dx_alone)
{
    struct head h;
    head_init(&h, plumb_test_device(), PLUMB_F32, 3, 4, 10, 6);
    for (int i = 0; i < 6; i++)
        h.target[i] = -1;
    memset(h.a.logp.data, 0xff, 6 * sizeof(float));
    memset(h.a.dlogp.data, 0xff, 6 * sizeof(float)); /* not read */
    memset(h.a.dx.data, 0xff, 12 * sizeof(float));
    head_set(&h.a.dw, 7, 3);
    RUN(head_fwd(&h));
    RUN(head_bwd(&h));
    for (int i = 0; i < 6; i++) {
        cr_expect_eq(head_get(&h.a.logp, i), 0);
        cr_expect_eq(head_get(&h.a.entropy, i), 0);
        cr_expect_eq(head_get(&h.a.lse, i), 0);
        cr_expect_eq(h.argmax[i], -1);
    }
    for (int i = 0; i < 12; i++)
        cr_expect_eq(head_get(&h.a.dx, i), 0);
    cr_expect_eq(head_get(&h.a.dw, 7), 3);
    head_release(&h);
}

Test(logprob, no_pairs_and_no_rows_clear_dx)
{
    float dx[2] = { 5, 5 };
    struct plumb_logprob a = { .struct_bytes = sizeof a,
                               .N = 1,
                               .H = 2,
                               .V = 3,
                               .logit_scale = 1,
                               .temperature = 1,
                               .dx = { dx, PLUMB_F32 } };
    RUN(plumb_logprob_fwd(&plumb_cpu, &a));
    RUN(plumb_logprob_bwd(&plumb_cpu, &a));
    cr_expect(dx[0] == 0 && dx[1] == 0);
    dx[0] = 5;
    RUN(plumb_logprob_fused(&plumb_cpu, &a));
    cr_expect(dx[0] == 0 && dx[1] == 0);
    a.N = 0;
    RUN(plumb_logprob_fwd(&plumb_cpu, &a));
    RUN(plumb_logprob_bwd(&plumb_cpu, &a));
}

Test(logprob, a_nan_row_is_nan_and_its_neighbours_are_not)
{
    const struct plumb_device *devices[] = { plumb_test_device(), &plumb_ref };
    for (int d = 0; d < 2; d++) {
        struct head h, clean;
        head_init(&h, devices[d], PLUMB_F32, 3, 5, 1500, 3);
        head_init(&clean, devices[d], PLUMB_F32, 3, 5, 1500, 3);
        head_set(&h.a.x, 5 + 2, (double)NAN);
        RUN(head_fwd(&h));
        RUN(head_bwd(&h));
        RUN(head_fwd(&clean));
        RUN(head_bwd(&clean));
        cr_expect(isnan(head_get(&h.a.logp, 1)) && isnan(head_get(&h.a.lse, 1)));
        cr_expect(isnan(head_get(&h.a.entropy, 1)) && isnan(head_get(&h.a.log_sum_sq, 1)));
        cr_expect(isnan(head_get(&h.a.dx, 5)) && h.argmax[1] == -1);
        for (int i = 0; i < 3; i += 2) {
            cr_expect_eq(head_get(&h.a.logp, i), head_get(&clean.a.logp, i));
            cr_expect_eq(h.argmax[i], clean.argmax[i]);
            for (int k = 0; k < 5; k++)
                cr_expect_eq(head_get(&h.a.dx, i * 5 + k), head_get(&clean.a.dx, i * 5 + k));
        }
        head_release(&h);
        head_release(&clean);
    }
}

/* x = 0, so the logits are the bias: the tests below set them one by one. */
static void logits_by_bias(struct head *h, const struct plumb_device *dev, int64_t V)
{
    head_init(h, dev, PLUMB_F32, 1, 1, V, 1);
    head_set(&h->a.x, 0, 0);
    for (int64_t v = 0; v < V; v++)
        head_set(&h->a.bias, v, 0);
}

Test(logprob, columns_of_minus_infinity_do_not_exist)
{
    const struct plumb_device *devices[] = { plumb_test_device(), &plumb_ref };
    for (int d = 0; d < 2; d++) {
        struct head h;
        logits_by_bias(&h, devices[d], 2100);
        /* a whole slice, and all but 8 columns of the rest */
        for (int v = 0; v < 2092; v++)
            head_set(&h.a.bias, v, -(double)INFINITY);
        h.target[0] = 2095;
        head_set(&h.a.dmean, 0, 0);
        RUN(head_fwd(&h));
        RUN(head_bwd(&h));
        const double eps = plumb_dtype_eps(h.a.logp.dtype), ln8 = log(8);
        cr_expect_float_eq(head_get(&h.a.logp, 0), -ln8, eps * 4);
        cr_expect_float_eq(head_get(&h.a.entropy, 0), ln8, eps * 4);
        cr_expect_float_eq(head_get(&h.a.log_sum_sq, 0), -ln8, eps * 4);
        cr_expect_eq(h.argmax[0], 2092);
        for (int v = 0; v < 2100; v++)
            cr_expect(isfinite(head_get(&h.a.dbias, v)));
        cr_expect_eq(head_get(&h.a.dbias, 1500), 0);
        h.target[0] = 3;
        RUN(head_fwd(&h));
        cr_expect_eq(head_get(&h.a.logp, 0), -(double)INFINITY);
        for (int v = 0; v < 2100; v++)
            head_set(&h.a.bias, v, -(double)INFINITY);
        RUN(head_fwd(&h));
        cr_expect(isnan(head_get(&h.a.logp, 0)) && isnan(head_get(&h.a.lse, 0)));
        cr_expect_eq(h.argmax[0], -1);
        head_release(&h);
    }
}

Test(logprob, argmax_is_the_smallest_id_of_the_largest_logit)
{
    struct head h;
    logits_by_bias(&h, plumb_test_device(), 4000);
    static const int at[] = { 1030, 1029, 1023, 31, 0 };
    head_set(&h.a.bias, 3999, 2);
    for (int k = 0; k < 5; k++) {
        head_set(&h.a.bias, at[k], 2);
        RUN(head_fwd(&h));
        cr_expect_eq(h.argmax[0], at[k]);
    }
    head_set(&h.a.bias, 2048, 2.5);
    RUN(head_fwd(&h));
    cr_expect_eq(h.argmax[0], 2048);
    head_release(&h);
}

/* Uniform logits have closed forms, for every width around the schedule's edges and for real
 * vocabularies; a shift of all logits changes lse and the mean alone. */
Test(logprob, uniform_logits_of_any_vocabulary_and_any_height)
{
    static const int64_t widths[] = { 1, 2, 17, 31, 33, 1023, 1024, 1025, 2049, 50257, 151665 };
    static const double shifts[] = { 0, -1000, 1000 };
    for (size_t k = 0; k < sizeof widths / sizeof *widths; k++)
        for (int s = 0; s < 3; s++) {
            struct head h;
            const int64_t V = widths[k];
            const double eps = plumb_dtype_eps(PLUMB_F32), ln = log((double)V), z = shifts[s];
            logits_by_bias(&h, plumb_test_device(), V + 3);
            for (int64_t v = 0; v < V; v++)
                head_set(&h.a.bias, v, z);
            for (int64_t v = V; v < V + 3; v++)
                head_set(&h.a.bias, v, 2000);
            h.a.valid_vocab = V;
            h.target[0] = (int32_t)(V - 1);
            RUN(head_fwd(&h));
            cr_expect_float_eq(head_get(&h.a.logp, 0), -ln, 2 * eps * ln, "V=%lld", (long long)V);
            cr_expect_float_eq(head_get(&h.a.entropy, 0), ln, 2 * eps * ln);
            cr_expect_float_eq(head_get(&h.a.log_sum_sq, 0), -ln, 4 * eps * ln);
            cr_expect_float_eq(head_get(&h.a.lse, 0), z + ln, 2 * eps * fabs(z + ln));
            cr_expect_float_eq(head_get(&h.a.mean_logit, 0), z, 2 * eps * fabs(z));
            cr_expect_eq(h.argmax[0], 0);
            head_release(&h);
        }
}

/* Error of a logp of 3000 columns: exp's 2 units in the last place and up to 32 additions in
 * each of its lanes, relative to the sum; then the rounding of the result. */
static double logp_bound(double logp) { return plumb_dtype_eps(PLUMB_F32) * (4 + 32 + fabs(logp)); }

Test(logprob, one_dominating_logit_leaves_signs_right)
{
    struct head h;
    logits_by_bias(&h, plumb_test_device(), 3000);
    for (int k = 0; k < 40; k++) {
        head_set(&h.a.bias, 1234, 3.0 * k);
        h.target[0] = 1234;
        RUN(head_fwd(&h));
        cr_expect_leq(head_get(&h.a.logp, 0), 0);
        cr_expect_geq(head_get(&h.a.entropy, 0), 0);
        const double logp = -log1p(2999 * exp(-3.0 * k)), other = logp - 3.0 * k;
        cr_expect_float_eq(head_get(&h.a.logp, 0), logp, logp_bound(logp));
        h.target[0] = 7;
        RUN(head_fwd(&h));
        cr_expect_float_eq(head_get(&h.a.logp, 0), other, logp_bound(other));
    }
    head_release(&h);
}

static void check_alone(enum plumb_dtype type, int64_t N, int64_t V, bool invariant)
{
    const int64_t H = 40;
    struct head batch;
    head_init(&batch, plumb_test_device(), type, N, H, V, N);
    batch.a.batch_invariant = invariant;
    RUN(head_fwd(&batch));
    const int64_t rows[] = { 0, 1, 5, N / 2, N - 1 };
    for (int k = 0; k < 5; k++) {
        struct head alone;
        head_init(&alone, plumb_test_device(), type, N, H, V, 1);
        alone.a.batch_invariant = invariant;
        alone.row[0] = batch.row[rows[k]];
        alone.target[0] = batch.target[rows[k]];
        RUN(head_fwd(&alone));
        expect_same_pair(&batch, rows[k], &alone, 0);
        head_release(&alone);
    }
    head_release(&batch);
}

Test(logprob, a_row_alone_has_the_bits_it_has_in_a_batch)
{
    for (int invariant = 0; invariant < 2; invariant++) {
        check_alone(PLUMB_F32, 67, 3001, invariant);
        check_alone(PLUMB_BF16, 67, 3001, invariant);
        check_alone(PLUMB_F32, 1100, 150, invariant); /* two chunks */
        check_alone(PLUMB_BF16, 1100, 150, invariant);
    }
    check_alone(PLUMB_BF16, 2100, 50, true); /* and of a device */
}

Test(logprob, pairs_of_one_row_share_its_statistics_and_sum_to_one)
{
    const int64_t V = 1100;
    struct head h, single;
    head_init(&h, plumb_test_device(), PLUMB_F32, 2, 8, V, V);
    head_init(&single, plumb_test_device(), PLUMB_F32, 2, 8, V, 1);
    double total = 0;
    for (int32_t v = 0; v < V; v++)
        h.row[v] = 1, h.target[v] = v;
    RUN(head_fwd(&h));
    single.row[0] = 1;
    for (int32_t v = 0; v < V; v += 99) {
        single.target[0] = v;
        RUN(head_fwd(&single));
        expect_same_pair(&h, v, &single, 0);
    }
    for (int64_t v = 0; v < V; v++)
        total += exp(head_get(&h.a.logp, v));
    /* each logp carries the rounding of a number of size |logp| <= 20 */
    cr_expect_float_eq(total, 1, 20 * plumb_dtype_eps(PLUMB_F32));
    head_release(&h);
    head_release(&single);
}

/* Over the vocabulary dz sums to dlse + dmean: logp and entropy do not feel a shift. */
static void check_gradient_sum(enum plumb_dtype type)
{
    struct head h;
    head_init(&h, plumb_test_device(), type, 20, 16, 2500, 30);
    h.target[7] = -1;
    RUN(head_fwd(&h));
    RUN(head_bwd(&h));
    double sum = 0, expected = 0, magnitude = 0;
    for (int64_t v = 0; v < h.a.V; v++) {
        sum += head_get(&h.a.dbias, v);
        magnitude += fabs(head_get(&h.a.dbias, v));
    }
    for (int64_t i = 0; i < h.a.M; i++) {
        if (h.target[i] < 0) continue;
        expected += head_get(&h.a.dlse, i) + head_get(&h.a.dmean, i);
        magnitude += fabs(head_get(&h.a.dlogp, i)) + fabs(head_get(&h.a.dlse, i));
    }
    /* one rounding of each dz, and of p by the rounding of lse, of size 16 at most */
    const double bound = plumb_dtype_eps(type) + 16 * plumb_dtype_eps(PLUMB_F32);
    cr_expect_float_eq(sum, expected, bound * magnitude);
    head_release(&h);
}

Test(logprob, gradients_over_the_vocabulary_sum_to_those_of_lse_and_mean)
{
    check_gradient_sum(PLUMB_F32);
    check_gradient_sum(PLUMB_BF16);
}

Test(logprob, backward_finds_what_forward_did_not_store)
{
    struct head full, bare;
    head_init(&full, plumb_test_device(), PLUMB_F32, 9, 16, 1300, 14);
    head_init(&bare, plumb_test_device(), PLUMB_F32, 9, 16, 1300, 14);
    RUN(head_fwd(&full));
    RUN(head_bwd(&full));
    const struct plumb_tensor none = { 0 };
    bare.a.logp = bare.a.lse = bare.a.log_sum_sq = bare.a.mean_logit = none;
    memset(bare.a.entropy.data, 0xff, 14 * sizeof(float)); /* without lse it is not trusted */
    RUN(head_bwd(&bare));
    cr_expect(isnan(head_get(&bare.a.entropy, 0)), "backward changed an output of forward");
    for (int64_t i = 0; i < 9 * 16; i++)
        expect_bits(&full.a.dx, i, &bare.a.dx, i, "dx");
    for (int64_t i = 0; i < 1300 * 16; i++)
        expect_bits(&full.a.dw, i, &bare.a.dw, i, "dw");
    head_release(&full);
    head_release(&bare);
}

Test(logprob, dx_in_bf16_is_the_rounded_dx_and_inputs_may_lie_anywhere)
{
    struct head wide, narrow;
    head_init(&wide, plumb_test_device(), PLUMB_BF16, 9, 17, 300, 9);
    head_init(&narrow, plumb_test_device(), PLUMB_BF16, 9, 17, 300, 9);
    struct plumb_logprob *a = &narrow.a;
    a->dx.dtype = PLUMB_BF16;
    char *x = head_bytes(&narrow, 2 * 9 * 17 + 2), *w = head_bytes(&narrow, 2 * 300 * 17 + 2);
    a->x.data = memcpy(x + 2, a->x.data, 2 * 9 * 17);
    a->w.data = memcpy(w + 2, a->w.data, 2 * 300 * 17);
    if (plumb_device_is_host(narrow.dev))
        a->work.data = (char *)head_bytes(&narrow, plumb_logprob_workspace(narrow.dev, a) + 4) + 4;
    RUN(head_fwd(&wide));
    RUN(head_bwd(&wide));
    RUN(head_fwd(&narrow));
    RUN(head_bwd(&narrow));
    for (int64_t i = 0; i < 9; i++)
        expect_same_pair(&wide, i, &narrow, i);
    for (int64_t i = 0; i < 9 * 17; i++)
        cr_expect_eq(head_get(&a->dx, i), plumb_dtype_round(PLUMB_BF16, head_get(&wide.a.dx, i)));
    head_release(&wide);
    head_release(&narrow);
}

Test(logprob, scratch_is_a_twentieth_of_the_logits)
{
    static const enum plumb_dtype types[] = { PLUMB_F32, PLUMB_BF16 };
    for (int k = 0; k < 2; k++) {
        struct plumb_logprob a = { .struct_bytes = sizeof a,
                                   .N = 4096,
                                   .H = 576,
                                   .V = 49152,
                                   .M = 4096,
                                   .x = { NULL, types[k] },
                                   .w = { NULL, types[k] } };
        const size_t bytes = plumb_logprob_workspace(&plumb_cpu, &a);
        cr_expect_gt(bytes, (size_t)49152 * 4);
        cr_expect_leq(bytes, (size_t)4096 * 49152 * 4 / 20, "%zu bytes in %s", bytes,
                      plumb_dtype_name(types[k]));
        a.N = a.M = 1 << 20;
        cr_expect_leq(plumb_logprob_workspace(&plumb_cpu, &a), bytes + 8 * (size_t)a.M);
    }
}
