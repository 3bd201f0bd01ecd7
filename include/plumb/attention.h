/* Causal attention on a segment forest (arXiv:2205.14135, arXiv:2307.08691 for the tiling): a
 * query sees its own segment up to itself and all of its ancestors' rows, as ONE virtual
 * sequence indexed by path position. KV tiles lie at absolute path positions (multiples of the
 * tile), so a row's result has the same bits packed, shared or alone. Never an L x L matrix in
 * memory. */
#pragma once
#include <plumb/base.h>
#include <plumb/batch.h>
PLUMB_BEGIN_C

struct plumb_attention {
    size_t struct_bytes;
    int64_t N;                   /* rows of k and v; also of q unless q_start is given */
    int64_t Hq, Hkv, K;          /* query heads, key/value heads (divide Hq), head size */
    struct plumb_forest forest;  /* over the rows of k and v; rows between segments are left
                                  * alone; with q_start, segments may lie in any order, as the
                                  * pages of a cache do */
    const int32_t *q_start;      /* (S) first row in q of each segment's queries; NULL = queries
                                  * are all rows */
    const int32_t *q_count;      /* (S) how many: the LAST q_count rows of the segment; NULL with
                                  * q_start */
    int64_t ldq, ldk, ldv, ldo;  /* elements between rows (of dq, dk, dv, do alike); 0 = dense.
                                  * Heads dense in a row. */
    double scale;                /* of q.k, > 0 */
    double softcap;              /* 0 = none: logits become cap * tanh(logit / cap) */
    int64_t window;              /* 0 = none; else a query at path position p sees positions > p
                                  * - window */
    struct plumb_tensor q, k, v; /* (N,H,K) in; one dtype, f32 or bf16 */
    struct plumb_tensor o;       /* (Nq,Hq,K) out, dtype of q; in for backward */
    struct plumb_tensor lse;     /* (Nq,Hq) out f32, natural log, for backward; absent at
                                  * inference; in for backward */
    struct plumb_tensor d_o;     /* (Nq,Hq,K) in, dtype of q */
    struct plumb_tensor dq, dk, dv; /* (N,H,K) out (overwritten), dtype of q; no alias of inputs */
    struct plumb_tensor work;    /* scratch of plumb_attention_workspace bytes */
};

/* Cost 4 K Hq flops a visible (query, key) pair forward, 10 backward. Deterministic for any
 * thread count. */
int plumb_attention_fwd(const struct plumb_device *dev, const struct plumb_attention *a);
/* Backward needs q_start = NULL. Walks ancestors and descendants in index order; no atomics. */
int plumb_attention_bwd(const struct plumb_device *dev, const struct plumb_attention *a);
/* Bytes of `work`. Reads only N, forest.S, Hq, Hkv and K, and grows with each, so a budget's
 * largest values give a bound; it holds for the thread count in force (omp_get_max_threads) or a
 * smaller one. About 0.3 MB a thread at K = 64; backward adds 8 Hkv K + 4 Hq bytes a row.
 * Contents need not survive a call. */
size_t plumb_attention_workspace(const struct plumb_device *dev, const struct plumb_attention *a,
                                 bool backward);
void plumb_attention_fwd_ref(const struct plumb_attention *a, enum plumb_dtype round);
void plumb_attention_bwd_ref(const struct plumb_attention *a, enum plumb_dtype round);

PLUMB_END_C
