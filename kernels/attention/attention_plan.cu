/* The plan of the attention, made on the device because the forest lies there: where each segment
 * stands on its path, which blocks of queries and keys there are, who descends from whom. One
 * block does it: a forest is small beside the rows it describes. */
#include "kernels/attention/attention_job.cuh"

enum { BLOCK = 256, WARPS = BLOCK / 32 };

struct attn_plan_job {
    struct plumb_forest f;
    const int32_t *q_start, *q_count;
    int64_t N, G;
    int query_step, key_step; /* rows of a piece */
    bool backward;
    struct plumb_attention_tables t;
};

PLUMB_DEVICE bool attn_lies_inside(const struct attn_plan_job *j, int64_t s)
{
    const int64_t start = j->f.start[s], length = j->f.length[s];
    return start >= 0 && length >= 1 && start + length <= j->N;
}

/* Walks from s up to its root; false where a rule is broken on the way. */
PLUMB_DEVICE bool attn_climb(const struct attn_plan_job *j, int64_t s,
                             struct plumb_attention_node *n)
{
    int64_t before = 0, above = 0; /* rows before s; rows up to the first jump */
    n->up = -1;
    for (int64_t at = s;;) {
        const int64_t parent = j->f.parent[at];
        if (!attn_lies_inside(j, at) || parent < -1 || parent >= at) return false;
        if (parent < 0) break;
        const int64_t length = j->f.length[parent];
        if (n->up < 0 && j->f.start[parent] + length != j->f.start[at]) n->up = (int32_t)parent;
        if (n->up >= 0) above += length;
        before += length;
        at = parent;
    }
    if (before + j->f.length[s] > j->N) return false;
    n->own = (int32_t)before;
    n->low = (int32_t)above;
    return true;
}

PLUMB_DEVICE void attn_make_node(const struct attn_plan_job *j, int64_t s)
{
    struct plumb_attention_node n = {};
    n.child = n.sibling = n.parent = -1;
    if (attn_climb(j, s, &n)) {
        n.length = j->f.length[s];
        n.parent = j->f.parent[s];
        n.shift = j->f.start[s] - n.own;
        n.q_row = j->q_start ? j->q_start[s] : j->f.start[s];
        int32_t count = j->q_count ? j->q_count[s] : n.length;
        if (count < 0 || count > n.length || n.q_row < 0) count = 0;
        n.q_rows = count * (int32_t)j->G;
        n.q_pos = n.own + n.length - count;
    }
    j->t.node[s] = n;
}

/* Links children to their parents, in index order: one warp takes 32 segments at a time from the
 * last on, so that the head of each list is always the first child seen so far. */
PLUMB_DEVICE void attn_link(const struct attn_plan_job *j)
{
    const int lane = threadIdx.x % 32;
    for (int64_t base = (j->f.S - 1) / 32 * 32; base >= 0; base -= 32) {
        const int64_t s = base + lane;
        const int32_t parent = s < j->f.S ? j->t.node[s].parent : -1;
        const unsigned same = __match_any_sync(~0u, parent);
        const unsigned after = lane < 31 ? same >> (lane + 1) : 0;
        if (parent >= 0)
            j->t.node[s].sibling = after ? (int32_t)s + __ffs((int)after)
                                         : j->t.node[parent].child;
        __syncwarp();
        if (parent >= 0 && (same & ((1u << lane) - 1)) == 0) j->t.node[parent].child = (int32_t)s;
        __syncwarp();
    }
}

/* Sum of n over the threads before this one; *total gets that of all. */
PLUMB_DEVICE int attn_sum_before(int n, int *warp_sum, int *total)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int sum = n;
    for (int step = 1; step < 32; step *= 2) {
        const int left = __shfl_up_sync(~0u, sum, step);
        if (lane >= step) sum += left;
    }
    __syncthreads(); /* what an earlier call read is read */
    if (lane == 31) warp_sum[warp] = sum;
    __syncthreads();
    int before = 0;
    *total = 0;
    for (int w = 0; w < WARPS; w++) {
        if (w < warp) before += warp_sum[w];
        *total += warp_sum[w];
    }
    return before + sum - n;
}

/* Writes the pieces of all segments, in order; `keys` says of what. Returns how many. */
PLUMB_DEVICE int attn_cut(const struct attn_plan_job *j, bool keys, int *warp_sum)
{
    const int step = keys ? j->key_step : j->query_step;
    const int64_t room = keys ? j->t.key_room : j->t.query_room;
    struct plumb_attention_piece *to = keys ? j->t.key : j->t.query;
    int64_t used = 0;
    for (int64_t base = 0; base < j->f.S; base += BLOCK) {
        const int64_t s = base + threadIdx.x;
        int32_t rows = 0;
        if (s < j->f.S) rows = keys ? j->t.node[s].length : j->t.node[s].q_rows;
        int total;
        const int n = (int)(((int64_t)rows + step - 1) / step);
        const int64_t at = used + attn_sum_before(n, warp_sum, &total);
        for (int i = 0; i < n && at + i < room; i++)
            to[at + i] = plumb_attention_piece{ (int32_t)s, i * step };
        used += total;
    }
    return (int)(used < room ? used : room); /* more only where segments overlap */
}

__global__ void attn_plan(struct attn_plan_job j)
{
    __shared__ int warp_sum[WARPS];
    for (int64_t s = threadIdx.x; s < j.f.S; s += BLOCK)
        attn_make_node(&j, s);
    __syncthreads();
    if (j.backward && threadIdx.x < 32) attn_link(&j);
    const int queries = attn_cut(&j, false, warp_sum);
    const int keys = j.backward ? attn_cut(&j, true, warp_sum) : 0;
    if (threadIdx.x == 0) j.t.pieces[0] = queries, j.t.pieces[1] = keys;
}

int plumb_attention_plan_launch(const struct plumb_device *dev, const struct plumb_attention *a,
                                const struct plumb_attention_tables *t, int query_step,
                                int key_step, bool backward)
{
    const struct attn_plan_job j = { a->forest,        a->q_start, a->q_count, a->N,
                                     a->Hq / a->Hkv, query_step, key_step,   backward,
                                     *t };
    return plumb_gpu_status(PLUMB_LAUNCH(attn_plan, 1, BLOCK, 0, plumb_gpu_stream(dev), j),
                            "attention");
}
