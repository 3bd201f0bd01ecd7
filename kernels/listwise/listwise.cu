/* Device code of the listwise losses, three kernels. listwise_sums adds up the candidates' tokens.
 * listwise_lists: a block owns neighbouring lists, whose numbers it keeps in shared memory; a warp
 * runs a list, of more than WIDE candidates the whole block, a lane has candidates of its own and
 * loops over the others. listwise_spread writes the tokens' gradients. A list that does not fit
 * works in the workspace, with the same code. */
#include "kernels/listwise/listwise_shell.h"

#include "kernels/gpu_sequence.h"

enum {
    BLOCK = 256,
    WARPS = BLOCK / 32,
    ROOM = 1024, /* candidates in shared memory */
    SKEW = 16,   /* room for neighbours in a sector, and for whole vectors at the end */
    LISTS = 64,  /* most lists of a block */
    SPREAD = 64, /* most candidates of a block that writes tokens */
    WIDE = 128,  /* longest list of one warp */
    ROWS = 4     /* loss, pairs, correct, top */
};

/* ---- sums over tokens, and back ---- */

struct listwise_sums_job {
    struct plumb_run_sums in; /* rewards: scores */
    double length_penalty;
};

__global__ void __launch_bounds__(PLUMB_RUNS_BLOCK)
    listwise_sums(const __grid_constant__ struct listwise_sums_job j)
{
    __shared__ struct plumb_runs s;
    plumb_runs_sum(&s, &j.in);
    const int t = (int)threadIdx.x;
    const int64_t c = plumb_runs_first() + t;
    if (t >= PLUMB_RUNS || c >= j.in.R || !(j.length_penalty > 0)) return;
    const double length = plumb_list_length(s.q[t].tokens, j.length_penalty);
    j.in.rewards[c] = plumb_saturate(j.in.beta * s.q[t].ratio / length);
}

struct listwise_spread_job {
    int64_t C;
    int runs; /* candidates of a block */
    const int32_t *offset;
    const float *dscore;
    float *dlogp;
};

/* dlogp = dscore of the candidate that a token belongs to. */
__global__ void __launch_bounds__(BLOCK)
    listwise_spread(const __grid_constant__ struct listwise_spread_job j)
{
    __shared__ int32_t at[SPREAD + 1], ends[2];
    __shared__ float up[SPREAD];
    const int t = (int)threadIdx.x;
    const int64_t c = (int64_t)blockIdx.x * j.runs;
    const int count = j.C - c < j.runs ? (int)(j.C - c) : j.runs;
    if (t <= count) at[t] = j.offset[c + t];
    if (t < count) up[t] = j.dscore[c + t];
    if (t < 2) ends[t] = j.offset[t * j.C];
    __syncthreads();
    const bool bad = t <= count &&
                     (at[t] < ends[0] || at[t] > ends[1] || (t > 0 && at[t] < at[t - 1]));
    if (__syncthreads_or(bad) || ends[0] < 0) return;
    const int64_t begin = at[0], n = at[count] - begin;
    float *p = j.dlogp + begin;
    int r = 0;
    for (int64_t i = 4 * t - plumb_skew(p); i < n; i += 4 * BLOCK) {
        plumb_vec<float> x;
        PLUMB_UNROLL for (int k = 0; k < 4; k++)
        {
            while (r < count - 1 && begin + i + k >= at[r + 1])
                r++;
            x.v[k] = up[r];
        }
        if (i >= 0 && i + 4 <= n)
            plumb_st16(p + i, x);
        else
            PLUMB_UNROLL for (int k = 0; k < 4; k++) if (i + k >= 0 && i + k < n) p[i + k] = x.v[k];
    }
}

/* ---- lists ---- */

struct listwise_job {
    int loss;
    int64_t L, C;
    int32_t first; /* candidate of the arrays' first element */
    int per;       /* lists of a block */
    const int32_t *list, *offset, *mask;
    const float *score, *logps, *label, *weight;
    double scale; /* of `score`: 1 where sums have been scaled already */
    double beta, length_penalty, sft_weight, sft_length_penalty, divisor;
    float label_temperature, margin, lambda;
    int64_t top_k;
    float *row[ROWS], *dscore;
    float *work;
    int64_t stride; /* from one array of the workspace to the next */
};

/* The numbers of neighbouring lists; element 0 is candidate `first`. */
struct listwise_group {
    int64_t first, n; /* candidates */
    float *score, *label, *key, *up;
    int32_t *mask, *place, *rank, *bound; /* bound: of tokens, n + 1 */
};

struct listwise_shared {
    __align__(16) float score[ROOM + SKEW], label[ROOM + SKEW], key[ROOM + SKEW], up[ROOM + SKEW];
    __align__(16) int32_t mask[ROOM + SKEW], place[ROOM + SKEW], rank[ROOM + SKEW];
    __align__(16) int32_t bound[ROOM + SKEW];
    int32_t at[LISTS + 1]; /* bounds of the block's lists */
    float row[ROWS][LISTS];
    double part[WARPS];
    struct listwise_group group;
    struct plumb_list list[WARPS]; /* by warp; [0] where all of the block runs one */
};

template <class T> PLUMB_DEVICE int skew_of(const T *x)
{
    return (int)(reinterpret_cast<uintptr_t>(x) / sizeof(T) % 8);
}

/* Copies x[first .. first + n), of `all`, into room that starts at a sector, and as far behind its
 * start as in memory; returns where. */
template <class T>
PLUMB_DEVICE T *copy_in(const T *x, int64_t first, int64_t n, int64_t all, T *room)
{
    const int skew = skew_of(x + first);
    T *to = room + skew;
    for (int64_t i = 4 * (int)threadIdx.x - skew; i < n; i += 4 * BLOCK) {
        plumb_vec<T> v;
        if (first + i >= 0 && first + i + 4 <= all)
            v = plumb_ldcs16(x + first + i);
        else
            PLUMB_UNROLL for (int k = 0; k < 4; k++)
                v.v[k] = i + k >= 0 && i + k < n ? x[first + i + k] : 0;
        plumb_st16(to + i, v);
    }
    return to;
}

PLUMB_DEVICE void copy_out(const float *from, int64_t first, int64_t n, float *y)
{
    for (int64_t i = 4 * (int)threadIdx.x - skew_of(y + first); i < n; i += 4 * BLOCK)
        if (i >= 0 && i + 4 <= n)
            plumb_st16(y + first + i, plumb_ld16(from + i));
        else
            PLUMB_UNROLL for (int k = 0; k < 4; k++) if (i + k >= 0 && i + k < n)
                y[first + i + k] = from[i + k];
}

/* Room for an array of a group: in shared memory where it fits. What does not is one list longer
 * than ROOM, so that these parts of the workspace lie apart. */
template <class T>
PLUMB_DEVICE T *room_for(const struct listwise_job *j, int array, int64_t first, int64_t n,
                         T *shared)
{
    float *work = j->work + array * j->stride + first / 8 * 8 + first / ROOM * 2 * SKEW;
    return n <= ROOM ? shared : reinterpret_cast<T *>(work);
}

/* Reads s->group, between barriers. */
PLUMB_DEVICE void group_in(const struct listwise_job *j, struct listwise_shared *s, int64_t first,
                           int64_t n)
{
    struct listwise_group g;
    g.first = first, g.n = n;
    __syncthreads();
    g.score = copy_in(j->score, first, n, j->C, room_for(j, 0, first, n, s->score));
    g.label = copy_in(j->label, first, n, j->C, room_for(j, 1, first, n, s->label));
    g.key = room_for(j, 2, first, n, s->key);
    g.up = room_for(j, 3, first, n, s->up) + (j->dscore ? skew_of(j->dscore + first) : 0);
    g.mask = room_for(j, 4, first, n, s->mask);
    g.place = room_for(j, 5, first, n, s->place);
    g.rank = room_for(j, 6, first, n, s->rank);
    g.bound = room_for(j, 7, first, n, s->bound);
    if (j->offset) g.bound = copy_in(j->offset, first, n + 1, j->C + 1, g.bound);
    if (j->mask) g.mask = copy_in(j->mask, first, n, j->C, g.mask);
    __syncthreads();
    for (int64_t i = threadIdx.x; i < n; i += BLOCK) {
        g.score[i] = plumb_finite(plumb_saturate(j->scale * (double)g.score[i]));
        g.label[i] = plumb_finite(g.label[i]);
        if (!j->mask) g.mask[i] = 1;
    }
    if (threadIdx.x == 0) s->group = g;
    __syncthreads();
}

/* Who runs a list: a warp, or all of the block. */
struct listwise_team {
    bool wide;
    int from, step; /* candidates of this thread */
};

PLUMB_DEVICE void meet(const struct listwise_team *t)
{
    if (t->wide)
        __syncthreads();
    else
        __syncwarp();
}

/* Every thread gets the sum, in an order that the team's size fixes. */
PLUMB_DEVICE double team_sum(double x, const struct listwise_team *t, double part[WARPS])
{
    x = plumb_warp_sum(x);
    if (!t->wide) return x;
    __syncthreads();
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
    __syncthreads();
    x = 0;
    for (int w = 0; w < WARPS; w++)
        x += part[w];
    return x;
}

/* Places, ranks and what they say of list k of the block; true where a number is NaN, in the
 * threads that have candidates. */
PLUMB_DEVICE bool sort_list(struct listwise_shared *s, const struct listwise_team *t,
                            struct plumb_list *l, int k)
{
    int32_t *place = s->group.place + (s->at[k] - s->group.first);
    int32_t *rank = s->group.rank + (s->at[k] - s->group.first);
    double pairs = 0, correct = 0, top = 0;
    int64_t count = 0;
    bool bad = false;
    for (int64_t i = t->from; i < l->K; i += t->step) {
        const struct plumb_list_order o = plumb_list_order(l, i);
        place[i] = o.place, rank[i] = o.rank, count = o.count, bad = o.bad;
        if (!l->mask[i]) continue;
        pairs += (double)o.pairs, correct += (double)o.correct;
        top += o.rank == 0 && o.best ? 1.0 : 0.0;
    }
    pairs = team_sum(pairs, t, s->part);
    correct = team_sum(correct, t, s->part);
    top = team_sum(top, t, s->part);
    if (t->from == 0) {
        l->count = count, l->pairs = pairs;
        s->row[1][k] = (float)pairs, s->row[2][k] = (float)correct, s->row[3][k] = (float)top;
    }
    meet(t);
    return bad;
}

/* Gives candidate i of the group its gradient; returns its part in the likelihood term. */
PLUMB_DEVICE double finish(const struct listwise_job *j, const struct listwise_group *g, int64_t i,
                           const struct plumb_list_share *r, double weight)
{
    struct plumb_list_scale scale = { j->beta, 0 };
    double nll = 0;
    if (j->offset) {
        const int64_t tokens = (int64_t)g->bound[i + 1] - g->bound[i];
        scale.score /= plumb_list_length(tokens, j->length_penalty);
        if (r->nll > 0) {
            scale.nll = 1 / plumb_list_length(tokens, j->sft_length_penalty);
            nll = -r->nll * scale.nll * (double)j->logps[g->first + i];
        }
    }
    g->up[i] = plumb_list_upstream(r, &scale, weight, j->divisor);
    return nll;
}

/* List k of the block, which is in the group. */
PLUMB_DEVICE void run_list(const struct listwise_job *j, struct listwise_shared *s, int k,
                           bool wide)
{
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const struct listwise_team t = { wide, wide ? (int)threadIdx.x : lane, wide ? BLOCK : 32 };
    const struct listwise_group *g = &s->group;
    const int64_t c = s->at[k], skip = c - g->first;
    struct plumb_list *l = &s->list[wide ? 0 : warp];
    float *key = g->key + skip;
    const int32_t *place = g->place + skip;
    meet(&t);
    if (t.from == 0)
        *l = plumb_list{ s->at[k + 1] - c,
                         0,
                         0,
                         g->score + skip,
                         g->label + skip,
                         key,
                         g->mask + skip,
                         place,
                         g->rank + skip,
                         j->label_temperature,
                         j->margin,
                         j->lambda,
                         j->top_k };
    meet(&t);
    const bool bad = sort_list(s, &t, l, k);
    if (plumb_list_staged(j->loss)) {
        for (int64_t i = t.from; i < l->K; i += t.step)
            if (l->mask[i] && !bad) key[i] = plumb_list_key(j->loss, l, i);
        meet(&t);
    }
    const double weight = j->weight ? (double)j->weight[(int64_t)blockIdx.x * j->per + k] : 1.0;
    double loss = 0;
    for (int64_t i = t.from; i < l->K; i += t.step) {
        struct plumb_list_share r = { 0, 0, 0 };
        if (bad && l->mask[i]) r.loss = r.ds = (double)NAN;
        if (!bad && l->mask[i])
            r = plumb_list_eval(j->loss, l, i, place[i] == 0 ? j->sft_weight : 0);
        loss += r.loss + finish(j, g, skip + i, &r, weight);
    }
    loss = team_sum(loss, &t, s->part);
    if (t.from == 0) s->row[0][k] = plumb_saturate(weight * loss);
}

/* The block's bounds of lists in s->at; false where they are out of order or lead out of the
 * array. */
PLUMB_DEVICE bool bounds_in(const struct listwise_job *j, struct listwise_shared *s, int count)
{
    const int t = (int)threadIdx.x;
    if (t <= count) s->at[t] = j->list[(int64_t)blockIdx.x * j->per + t] - j->first;
    __syncthreads();
    const bool bad = t <= count &&
                     (s->at[t] < 0 || s->at[t] > j->C || (t > 0 && s->at[t] < s->at[t - 1]));
    return !__syncthreads_or(bad);
}

__global__ void __launch_bounds__(BLOCK, 2)
    listwise_lists(const __grid_constant__ struct listwise_job j)
{
    __shared__ struct listwise_shared s;
    const int t = (int)threadIdx.x;
    const int64_t first = (int64_t)blockIdx.x * j.per, left = j.L - first;
    const int count = left < j.per ? (int)left : j.per;
    const bool good = bounds_in(&j, &s, count);
    for (int k = 0, end; good && k < count; k = end) {
        for (end = k + 1; end < count && s.at[end + 1] - s.at[k] <= ROOM;)
            end++;
        group_in(&j, &s, s.at[k], s.at[end] - s.at[k]);
#pragma unroll 1
        for (int wide = 0; wide < 2; wide++) { /* one call: two would be inlined twice */
            for (int m = wide ? k : k + t / 32; m < end; m += wide ? 1 : WARPS)
                if (wide == (s.at[m + 1] - s.at[m] > WIDE)) run_list(&j, &s, m, wide);
            __syncthreads();
        }
        if (j.dscore) copy_out(s.group.up, s.group.first, s.group.n, j.dscore);
    }
    __syncthreads();
    PLUMB_UNROLL for (int k = 0; k < ROWS; k++) if (t < count && j.row[k])
        j.row[k][first + t] = good ? s.row[k][t] : NAN;
}

/* ---- host ---- */

static struct plumb_run_sums sums_of(const struct plumb_listwise *a)
{
    const struct plumb_run_sums r = { a->C,
                                      a->offset,
                                      (const float *)a->logp.data,
                                      (const float *)a->ref_logp.data,
                                      (const float *)a->ref_sum.data,
                                      (float *)a->logps.data,
                                      (float *)a->scores.data,
                                      a->beta };
    return r;
}

/* Enough lists that the ends of what a block reads do not count, few enough that there are some
 * blocks for each multiprocessor. */
static int lists_of_a_block(const struct plumb_listwise *a)
{
    const int64_t fit = ROOM * 3 / 4 / (a->C / a->L + 1), share = a->L / 32;
    int64_t n = share > 8 ? share : 8;
    if (n > fit) n = fit;
    if (n > LISTS) n = LISTS;
    return n < 1 ? 1 : n < 8 ? (int)n : (int)(n / 8 * 8);
}

static struct listwise_job job_of(const struct plumb_listwise *a)
{
    const bool given = a->score.data != NULL;
    uintptr_t work = reinterpret_cast<uintptr_t>(a->work.data);
    work += -work % 32;
    const struct listwise_job j = {
        .loss = (int)a->loss,
        .L = a->L,
        .C = a->C,
        .first = (int32_t)a->first,
        .per = lists_of_a_block(a),
        .list = a->list,
        .offset = given ? NULL : a->offset,
        .mask = a->mask,
        .score = (const float *)(given ? a->score.data : a->scores.data),
        .logps = (const float *)a->logps.data,
        .label = (const float *)a->label.data,
        .weight = (const float *)a->weight.data,
        .scale = given ? a->beta : 1,
        .beta = a->beta,
        .length_penalty = a->length_penalty,
        .sft_weight = a->sft_weight,
        .sft_length_penalty = a->sft_length_penalty,
        .divisor = a->divisor,
        .label_temperature = plumb_saturate(a->label_temperature),
        .margin = plumb_saturate(a->margin),
        .lambda = plumb_saturate(a->lambda),
        .top_k = a->top_k,
        .row = { (float *)a->losses.data, (float *)a->pairs.data, (float *)a->correct.data,
                 (float *)a->top.data },
        .dscore = (float *)a->dscore.data,
        .work = reinterpret_cast<float *>(work),
        .stride = (a->C / ROOM * 2 * SKEW + a->C) / 8 * 8 + 4 * SKEW,
    };
    return j;
}

static cudaError_t launch(const struct plumb_device *dev, const struct plumb_listwise *a)
{
    cudaStream_t stream = plumb_gpu_stream(dev);
    const unsigned candidates = (unsigned)plumb_ceil_div(a->C, PLUMB_RUNS);
    const struct listwise_sums_job sums = { sums_of(a), a->length_penalty };
    const int runs = a->C >= 64 * SPREAD ? SPREAD : 8;
    const struct listwise_spread_job spread = { a->C, runs, a->offset,
                                                (const float *)a->dscore.data,
                                                (float *)a->dlogp.data };
    if (a->logp.data && a->C > 0) {
        const cudaError_t e = PLUMB_LAUNCH(listwise_sums, candidates, PLUMB_RUNS_BLOCK, 0, stream,
                                           sums);
        if (e) return e;
    }
    const struct listwise_job j = job_of(a);
    const unsigned blocks = (unsigned)plumb_ceil_div(a->L, j.per);
    const cudaError_t e = PLUMB_LAUNCH(listwise_lists, blocks, BLOCK, 0, stream, j);
    if (e || !a->dlogp.data || a->C == 0) return e;
    return PLUMB_LAUNCH(listwise_spread, (unsigned)plumb_ceil_div(a->C, runs), BLOCK, 0, stream,
                        spread);
}

static int listwise(const struct plumb_device *dev, const struct plumb_listwise *a)
{
    return a->L == 0 ? PLUMB_OK : plumb_gpu_status(launch(dev, a), "listwise");
}
PLUMB_GPU_OP(listwise, plumb_listwise);
