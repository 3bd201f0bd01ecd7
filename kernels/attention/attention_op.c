/* Cases of the attention. dim: Hq, Hkv, K, window, shape of the forest, count, first length, second
 * length, trees; opt: softcap. */
#include <plumb/attention.h>

#include <math.h>

#include "kernels/op.h"

/* ROOTS: `count` rows of first, first + 1, ... tokens. FAMILY: a prompt of the first length with
 * `count` children of the second, second + 1, ... CHAIN: `count` segments, each the parent of the
 * next, lengths alternating. BINARY: `count` levels of a binary tree, lengths alternating by
 * level. */
enum shape { ROOTS, FAMILY, CHAIN, BINARY };
enum dim { HQ, HKV, K, WINDOW, SHAPE, COUNT, FIRST, SECOND, TREES };

static const struct plumb_case cases[] = {
    { "one root", { 2, 2, 16, 0, ROOTS, 1, 9 } },
    { "one token", { 3, 1, 8, 0, ROOTS, 1, 1 } },
    { "tile - 1, tile, tile + 1", { 1, 1, 8, 0, ROOTS, 3, 63 } },
    { "several roots, 9 heads on 3", { 9, 3, 64, 0, ROOTS, 4, 1 } },
    { "prompt and 2 children, 8 heads on 4", { 8, 4, 16, 0, FAMILY, 2, 70, 5 } },
    { "prompt and 4 children, K = 80", { 2, 1, 80, 0, FAMILY, 4, 13, 1 } },
    { "two prompts with children, K = 128", { 2, 2, 128, 0, FAMILY, 2, 3, 4, 2 } },
    { "chain", { 2, 1, 8, 0, CHAIN, 7, 13, 30 } },
    { "chain of single tokens", { 2, 1, 8, 0, CHAIN, 70, 1, 1 } },
    { "tree of depth 3", { 3, 3, 16, 0, BINARY, 3, 21, 9 } },
    { "window inside a segment", { 2, 1, 16, 7, ROOTS, 2, 40 } },
    { "window across segments and tiles", { 3, 1, 8, 50, FAMILY, 2, 61, 70 } },
    { "window of one", { 1, 1, 8, 1, FAMILY, 2, 3, 3 } },
    { "softcap", { 4, 2, 16, 0, FAMILY, 2, 20, 11 }, { 1.5 } },
    { "softcap and window", { 2, 2, 80, 9, BINARY, 3, 5, 8 }, { 2 } },
    { "128 and 132 rows of a group", { 4, 1, 16, 0, ROOTS, 2, 32 } },
    { "K = 5, prompt and 3 children", { 3, 1, 5, 0, FAMILY, 3, 33, 2 } },
    { "K = 96, prompt and 2 children", { 2, 1, 96, 0, FAMILY, 2, 40, 35 } },
    { "K = 200, window", { 1, 1, 200, 20, ROOTS, 1, 35 } },
    { "K = 256, prompt and 2 children", { 2, 1, 256, 0, FAMILY, 2, 17, 16 } },
    { "nothing", { 2, 2, 16, 0, ROOTS, 0, 0 } },
    { "8 rows of 500 tokens, SmolLM2-135M", { 9, 3, 64, 0, ROOTS, 8, 500 }, .bench = true },
    { "4 pairs, prompt 250 + 250, SmolLM2-135M",
      { 9, 3, 64, 0, FAMILY, 2, 250, 250, 4 },
      .bench = true },
    { "2 pairs, prompt 100 + 60, SmolLM2-135M",
      { 9, 3, 64, 0, FAMILY, 2, 100, 60, 2 },
      .bench = true },
    { "1 row of 4096 tokens, K = 128, 8 heads on 2",
      { 8, 2, 128, 0, ROOTS, 1, 4096 },
      .bench = true },
};

static const struct plumb_case decode_cases[] = {
    { "last token of a long row", { 9, 3, 64, 0, ROOTS, 1, 130, 1 } },
    { "last tokens of children", { 4, 4, 16, 0, FAMILY, 3, 66, 2 } },
    { "window", { 4, 2, 16, 10, CHAIN, 3, 9, 8 } },
    { "K = 20", { 2, 1, 20, 0, ROOTS, 2, 40 } },
    { "K = 128, 8 heads on 1", { 8, 1, 128, 0, FAMILY, 2, 70, 9 } },
    { "16 samples of one prompt, SmolLM2-135M",
      { 9, 3, 64, 0, FAMILY, 16, 400, 100 },
      .bench = true },
};

/* Segments of one tree; lengths and parents go to the arrays where given. */
static int64_t tree(const struct plumb_case *c, int32_t *length, int32_t *parent, int64_t from)
{
    const int64_t count = c->dim[COUNT];
    const int64_t segments = c->dim[SHAPE] == FAMILY   ? count + 1
                             : c->dim[SHAPE] == BINARY ? (1 << count) - 1
                                                       : count;
    for (int64_t i = 0, level = 0; length && i < segments; i++) {
        if (i + 1 >= 2 << level) level++;
        const int64_t child = c->dim[SECOND] + i - 1;
        int64_t len = c->dim[FIRST] + i, up = -1;
        if (c->dim[SHAPE] == FAMILY && i > 0) len = child, up = 0;
        if (c->dim[SHAPE] == CHAIN) len = i % 2 ? c->dim[SECOND] : c->dim[FIRST], up = i - 1;
        if (c->dim[SHAPE] == BINARY)
            len = level % 2 ? c->dim[SECOND] : c->dim[FIRST], up = i ? (i - 1) / 2 : -1;
        length[from + i] = (int32_t)len;
        parent[from + i] = (int32_t)(up < 0 ? -1 : from + up);
    }
    return segments;
}

static int64_t trees(const struct plumb_case *c) { return c->dim[TREES] ? c->dim[TREES] : 1; }

static void shape(const struct plumb_case *c, struct plumb_case_mem *m, struct plumb_attention *a)
{
    const int64_t S = tree(c, NULL, NULL, 0) * trees(c);
    int32_t *length = plumb_case_index(m, S), *parent = plumb_case_index(m, S),
            *start = plumb_case_index(m, S);
    for (int64_t s = 0; s < S;)
        s += tree(c, length, parent, s);
    for (int64_t s = 0; s < S; s++) {
        start[s] = (int32_t)a->N;
        a->N += length[s];
    }
    a->forest = (struct plumb_forest){ .S = S, .start = start, .length = length, .parent = parent };
}

static struct plumb_attention base(const struct plumb_case *c)
{
    return (struct plumb_attention){ .struct_bytes = sizeof(struct plumb_attention),
                                     .Hq = c->dim[HQ],
                                     .Hkv = c->dim[HKV],
                                     .K = c->dim[K],
                                     .window = c->dim[WINDOW],
                                     .softcap = c->opt[0],
                                     .scale = 1 / sqrt((double)c->dim[K]) };
}

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_attention *a = args;
    *a = base(c);
    shape(c, m, a);
    const int64_t q = a->N * a->Hq * a->K, kv = a->N * a->Hkv * a->K;
    plumb_case_in(m, &a->q, &a->dq, PLUMB_CASE_ACT, "q", q, -2, 2);
    plumb_case_in(m, &a->k, &a->dk, PLUMB_CASE_ACT, "k", kv, -2, 2);
    plumb_case_in(m, &a->v, &a->dv, PLUMB_CASE_ACT, "v", kv, -2, 2);
    plumb_case_out(m, &a->o, &a->d_o, PLUMB_CASE_ACT, "o", q);
    plumb_case_out(m, &a->lse, NULL, PLUMB_CASE_STAT, "lse", a->N * a->Hq);
}

/* One query a leaf: its last token. */
static void setup_decode(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_attention *a = args;
    *a = base(c);
    shape(c, m, a);
    int32_t *start = plumb_case_index(m, a->forest.S), *count = plumb_case_index(m, a->forest.S);
    int64_t rows = 0;
    for (int64_t s = 0; s < a->forest.S; s++) {
        bool leaf = true;
        for (int64_t t = s + 1; t < a->forest.S; t++)
            leaf = leaf && a->forest.parent[t] != s;
        start[s] = (int32_t)rows;
        count[s] = leaf;
        rows += leaf;
    }
    a->q_start = start;
    a->q_count = count;
    plumb_case_in(m, &a->q, NULL, PLUMB_CASE_ACT, "q", rows * a->Hq * a->K, -2, 2);
    plumb_case_in(m, &a->k, NULL, PLUMB_CASE_ACT, "k", a->N * a->Hkv * a->K, -2, 2);
    plumb_case_in(m, &a->v, NULL, PLUMB_CASE_ACT, "v", a->N * a->Hkv * a->K, -2, 2);
    plumb_case_out(m, &a->o, NULL, PLUMB_CASE_ACT, "o", rows * a->Hq * a->K);
}

/* Rows of keys and visible (query, key) pairs, of the last queries of leaves only when `decode`. */
static void measure(const struct plumb_case *c, bool decode, double *rows, double *queries,
                    double *pairs)
{
    int32_t length[128], parent[128]; /* the largest case has fewer segments */
    const int64_t S = tree(c, length, parent, 0);
    PLUMB_ASSERT(S <= 128);
    *rows = *queries = *pairs = 0;
    for (int64_t s = 0; s < S; s++) {
        int64_t before = 0, children = 0;
        for (int64_t p = parent[s]; p >= 0; p = parent[p])
            before += length[p];
        for (int64_t t = s + 1; t < S; t++)
            children += parent[t] == s;
        *rows += length[s];
        for (int64_t i = decode ? length[s] - !children : 0; i < length[s]; i++) {
            const int64_t path = before + i + 1, window = c->dim[WINDOW];
            *pairs += (double)(window && window < path ? window : path);
            *queries += 1;
        }
    }
    *rows *= (double)trees(c);
    *queries *= (double)trees(c);
    *pairs *= (double)trees(c);
}

static double count_bytes(const struct plumb_case *c, size_t elem, bool backward, bool decode)
{
    double rows, queries, pairs;
    measure(c, decode, &rows, &queries, &pairs);
    const double q = queries * (double)(c->dim[HQ] * c->dim[K]),
                 kv = 2 * rows * (double)(c->dim[HKV] * c->dim[K]);
    return (double)elem * (backward ? 4 * q + 2 * kv : 2 * q + kv);
}

static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    return count_bytes(c, elem, backward, false);
}
static double decode_bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    return count_bytes(c, elem, backward, true);
}

static double flops(const struct plumb_case *c, bool backward)
{
    double rows, queries, pairs;
    measure(c, false, &rows, &queries, &pairs);
    return (backward ? 10 : 4) * pairs * (double)(c->dim[HQ] * c->dim[K]);
}
static double decode_flops(const struct plumb_case *c, bool backward)
{
    double rows, queries, pairs;
    (void)backward;
    measure(c, true, &rows, &queries, &pairs);
    return 4 * pairs * (double)(c->dim[HQ] * c->dim[K]);
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_attention_fwd(d, a); }
static int bwd(const struct plumb_device *d, const void *a) { return plumb_attention_bwd(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_attention_fwd_ref(a, round); }
static void bwd_ref(const void *a, enum plumb_dtype round) { plumb_attention_bwd_ref(a, round); }

static size_t workspace(const struct plumb_device *d, const void *a)
{
    const size_t f = plumb_attention_workspace(d, a, false),
                 b = plumb_attention_workspace(d, a, true);
    return f > b ? f : b;
}
static size_t decode_workspace(const struct plumb_device *d, const void *a)
{
    return plumb_attention_workspace(d, a, false);
}

extern const struct plumb_op plumb_op_attention[];
const struct plumb_op plumb_op_attention[] = {
    { .name = "attention",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_attention),
      .setup = setup,
      .fwd = fwd,
      .bwd = bwd,
      .fwd_ref = fwd_ref,
      .bwd_ref = bwd_ref,
      .workspace = workspace,
      .work_offset = offsetof(struct plumb_attention, work),
      .bytes = bytes,
      .flops = flops },
    { .name = "attention_decode",
      .cases = decode_cases,
      .case_count = sizeof decode_cases / sizeof *decode_cases,
      .args_bytes = sizeof(struct plumb_attention),
      .setup = setup_decode,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .workspace = decode_workspace,
      .work_offset = offsetof(struct plumb_attention, work),
      .bytes = decode_bytes,
      .flops = decode_flops },
    { 0 },
};
