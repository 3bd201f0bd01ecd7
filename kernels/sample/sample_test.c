/* What sampling promises beside its distributions: bits that do not depend on the batch, ties by
 * id, odd rows, refusals. */
#include "tests/tensor.h"

#include "kernels/sample/sample_fixture.h"
#include "kernels/simd.h"

/* The same row alone and as a matrix, from a batch in slices. */
Test(sample, a_row_has_the_same_bits_alone)
{
    enum { M = 9, V = 2600, SLICE = 1024 };
    for (int i = 0; i < 6; i++) {
        struct rows all = rows_of(M, V), one = rows_of(1, V);
        fill(&all, i % 2 ? 6 : 0.5);
        all.a.top_k = i == 1 ? 50 : i == 5 ? 1200 : 0;
        all.a.top_p = i == 2 || i == 5 ? 0.9 : 1;
        all.a.min_p = i == 3 ? 0.02 : 0;
        if (i > 3) add_penalty(&all, 1.3), add_biases(&all);
        all.a.logits.slice = SLICE;
        run(&all);
        for (int64_t m = 0; m < M; m++) {
            one.a = all.a;
            one.a.logits = (struct plumb_logits){ NULL, 1, V, V, 0 };
            if (all.a.seen_offset) one.a.seen_offset = one.offset, one.a.seen = one.seen;
            memcpy(one.seen, all.seen + m * SEEN, SEEN * sizeof *one.seen);
            memcpy(one.bias, all.bias, V * sizeof *one.bias);
            memcpy(one.bias_token, all.bias_token, V * sizeof *one.bias_token);
            one.sequence[0] = all.sequence[m], one.position[0] = all.position[m];
            for (int64_t v = 0; v < V; v++) {
                const int64_t from = v / SLICE * SLICE, width = V - from < SLICE ? V - from : SLICE;
                one.z[v] = all.z[from * M + m * width + v - from];
            }
            run(&one);
            cr_expect_eq(one.token[0], all.token[m], "options %d, row %d", i, (int)m);
            cr_expect_eq(plumb_bits_of_f32(one.logp[0]), plumb_bits_of_f32(all.logp[m]));
        }
        release(&all);
        release(&one);
    }
}

static void expect_tokens(struct rows *r, int64_t least, int64_t most, const char *what)
{
    bool met[64] = { false };
    run(r);
    for (int64_t m = 0; m < r->M; m++) {
        cr_assert(r->token[m] >= least && r->token[m] <= most, "%s: token %d", what, r->token[m]);
        cr_expect_float_eq(r->logp[m], -log((double)(most - least + 1)), 1e-6, "%s", what);
        met[r->token[m]] = true;
    }
    for (int64_t v = least; v <= most; v++)
        cr_expect(met[v], "%s: never token %d", what, (int)v);
}

/* 40 equal logits: thresholds go by id. */
Test(sample, of_equal_logits_the_smaller_ids_stand_first)
{
    struct rows r = rows_of(400, 40);
    for (int64_t i = 0; i < r.M * r.V; i++)
        r.z[i] = i % 2 ? 0.0f : -0.0f;
    expect_tokens(&r, 0, 39, "all");
    r.a.top_k = 3;
    expect_tokens(&r, 0, 2, "top-k");
    r.a.top_k = 0, r.a.top_p = 0.25;
    expect_tokens(&r, 0, 9, "top-p");
    r.a.top_k = 20;
    expect_tokens(&r, 0, 4, "top-p of top-k");
    r.a.top_k = 0, r.a.top_p = 0.2501;
    expect_tokens(&r, 0, 10, "top-p, a little more");
    r.a.top_p = 1, r.a.min_p = 1;
    expect_tokens(&r, 0, 39, "min-p");
    r.a.min_p = 0, r.a.top_p = 1e-300;
    expect_tokens(&r, 0, 0, "top-p of nothing");
    release(&r);
}

Test(sample, greedy_takes_the_first_of_the_largest_after_penalty_and_bias)
{
    struct rows r = rows_of(3, 30);
    for (int64_t m = 0; m < 3; m++) {
        r.z[m * 30 + 7] = r.z[m * 30 + 19] = 4;
        r.z[m * 30 + 25] = 3;
    }
    r.a.greedy = true;
    r.a.top_p = -5; /* not looked at */
    run(&r);
    for (int m = 0; m < 3; m++)
        cr_expect(r.token[m] == 7 && r.logp[m] == 0);
    add_penalty(&r, 2);
    for (int i = 0; i < SEEN; i++) { /* one row has seen 7, the next both, the third nothing */
        r.seen[i] = 7;
        r.seen[SEEN + i] = i % 2 ? 7 : 19;
        r.seen[2 * SEEN + i] = 0;
    }
    run(&r);
    cr_expect(r.token[0] == 19 && r.token[1] == 25 && r.token[2] == 7);
    r.a.biases = 2;
    r.bias_token[0] = 11, r.bias[0] = 4.5f;
    r.bias_token[1] = 7, r.bias[1] = 1;
    run(&r);
    cr_expect(r.token[0] == 11 && r.token[1] == 11 && r.token[2] == 7);
    release(&r);
}

Test(sample, odd_rows_have_no_token_and_the_others_never_notice)
{
    struct rows r = rows_of(6, 50), good = rows_of(6, 50);
    fill(&r, 3);
    fill(&good, 3);
    r.z[50 + 3] = NAN, r.z[2 * 50 + 3] = INFINITY;
    for (int64_t v = 0; v < 50; v++)
        r.z[3 * 50 + v] = -INFINITY, r.z[4 * 50 + v] = v == 17 ? -1e30f : -INFINITY;
    for (int greedy = 0; greedy < 2; greedy++) {
        r.a.greedy = good.a.greedy = greedy == 1;
        run(&r);
        run(&good);
        for (int m = 1; m < 4; m++)
            cr_expect(r.token[m] == -1 && isnan(r.logp[m]), "row %d: %d", m, r.token[m]);
        cr_expect(r.token[4] == 17 && r.logp[4] == 0);
        cr_expect(r.token[0] == good.token[0] && r.token[5] == good.token[5]);
    }
    release(&r);
    release(&good);
}

/* Nobody can look at a device's arrays beforehand: what is out of range there is passed over. */
Test(sample, a_device_passes_over_tokens_out_of_range)
{
    if (plumb_device_is_host(plumb_test_device())) return;
    struct rows r = rows_of(2, 10);
    r.a.greedy = true;
    r.z[4] = r.z[14] = 1;
    add_penalty(&r, 2);
    for (int i = 0; i < 2 * SEEN; i++)
        r.seen[i] = i % 2 ? -3 : 10;
    r.a.biases = 2;
    r.bias_token[0] = 10, r.bias_token[1] = INT32_MIN;
    r.bias[0] = r.bias[1] = 9;
    run(&r);
    cr_expect(r.token[0] == 4 && r.token[1] == 4);
    release(&r);
}

Test(sample, names_the_argument_that_is_wrong)
{
    struct rows r = rows_of(2, 10);
    add_penalty(&r, 2);
    add_biases(&r);
    struct plumb_sample good = r.a;
    good.logits.z = r.z;
    good.bias_token = r.bias_token;
    good.bias = (struct plumb_tensor){ r.bias, PLUMB_F32 };
    good.seed = r.seed, good.sequence = r.sequence, good.position = r.position;
    good.token = r.token;
    good.work.data = bytes(plumb_sample_workspace(&plumb_cpu, &good));
    cr_assert_eq(plumb_sample(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
#define REFUSED(field, value, text)                                                                \
    do {                                                                                           \
        struct plumb_sample a = good;                                                              \
        a.field = value;                                                                           \
        cr_expect_eq(plumb_sample(&plumb_cpu, &a), PLUMB_EINVAL, "%s", text);                      \
        cr_expect(strstr(plumb_errmsg(), text), "%s: message was: %s", text, plumb_errmsg());      \
    } while (0)
    REFUSED(struct_bytes, 8, "struct_bytes is 8");
    REFUSED(logits.rows, -1, "logits.rows=-1");
    REFUSED(logits.vocab, 0, "logits.vocab=0");
    REFUSED(logits.vocab, INT64_MAX / 4, "too large");
    REFUSED(logits.slice, 0, "logits.slice=0");
    REFUSED(logits.stride, 9, "logits.stride=9");
    REFUSED(logits.z, NULL, "logits.z is missing");
    REFUSED(top_k, -1, "top_k=-1");
    REFUSED(top_p, 0, "top_p=0");
    REFUSED(top_p, (double)NAN, "top_p=nan");
    REFUSED(min_p, 1.5, "min_p=1.5");
    REFUSED(repetition_penalty, 0, "repetition_penalty=0");
    REFUSED(biases, 11, "biases=11");
    REFUSED(bias_token, NULL, "bias_token is missing");
    REFUSED(bias.data, NULL, "bias is missing");
    REFUSED(bias.dtype, PLUMB_BF16, "bias cannot be bfloat16");
    REFUSED(seen, NULL, "seen is missing");
    REFUSED(seed, NULL, "seed is missing");
    REFUSED(sequence, NULL, "sequence is missing");
    REFUSED(position, NULL, "position is missing");
    REFUSED(token, NULL, "token is missing");
    REFUSED(work.data, NULL, "work is missing");
    r.bias_token[1] = r.bias_token[0];
    REFUSED(greedy, true, "bias_token[1]=2 stands there twice");
    r.bias_token[1] = 10;
    REFUSED(greedy, true, "bias_token[1]=10, must be 0 to 9");
    r.seen[5] = -1;
    REFUSED(greedy, true, "seen[5]=-1, must be 0 to 9");
    r.seen[5] = 0;
    r.offset[2] = 3;
    REFUSED(biases, 0, "seen_offset[2]=3");
    free(good.work.data);
    release(&r);
}
