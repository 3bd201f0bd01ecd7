/* Sampling on a device, a block a row. Weights are integers, e^(z - largest) in units of 2^-shift:
 * their sums are exact, so nothing depends on the order of additions, and the token that a random
 * number falls on is found without rounding. */
#include "kernels/gpu_sequence.h"
#include "kernels/sample/sample_row.h"

enum { THREADS = 1024, WARPS = THREADS / 32, BINS = PLUMB_SAMPLE_BINS, WIDTH = 4, ALIGN = 256 };

typedef unsigned long long sample_mass;

static const unsigned FULL = ~0u; /* all lanes of a warp */

struct sample_job {
    struct plumb_sample a;
    uint32_t *seen; /* a bit an id, `words` a row; NULL = none */
    float *bias;    /* one an id; NULL = none */
    int64_t words;
    double log_min_p;
    int shift;
    bool wide; /* four neighbouring logits can be accessed at once */
};

struct sample_shared {
    sample_mass bin[BINS]; /* empty between searches */
    sample_mass sum[WARPS];
    float peak[WARPS];
    int32_t first[WARPS];
    sample_mass above, equal; /* of the digit found: in larger logits, in its own */
    uint32_t digit;
    float floor;
    int32_t id;
};

struct sample_row_of {
    const struct sample_job *j;
    struct sample_shared *s;
    int64_t m;
    float largest;
    struct plumb_sample_kept kept;
};

/* ---- logits ---- */

PLUMB_DEVICE void adjust(const struct sample_row_of *r, int64_t v, float z[WIDTH])
{
    const struct sample_job *j = r->j;
    uint32_t seen = 0;
    if (j->seen) seen = j->seen[r->m * j->words + v / 32] >> v % 32;
    PLUMB_UNROLL for (int k = 0; k < WIDTH; k++)
    {
        if (seen >> k & 1) z[k] = plumb_sample_penalise(z[k], j->a.repetition_penalty);
    }
    if (!j->bias) return;
    const plumb_vec<float> bias = plumb_ld16(j->bias + v);
    PLUMB_UNROLL for (int k = 0; k < WIDTH; k++)
    {
        if (bias.v[k] != 0) z[k] = plumb_sample_add(z[k], bias.v[k]);
    }
}

/* Adjusted logits v .. v+3 of the row, -inf beyond its end; v is a multiple of 4. */
PLUMB_DEVICE void four_of(const struct sample_row_of *r, int64_t v, float z[WIDTH])
{
    const struct plumb_logits *l = &r->j->a.logits;
    int64_t piece;
    if (r->j->wide && v + WIDTH <= l->vocab) {
        const plumb_vec<float> x = plumb_ld16(plumb_sample_piece(l, r->m, v, &piece));
        PLUMB_UNROLL for (int k = 0; k < WIDTH; k++) z[k] = x.v[k];
    } else {
        PLUMB_UNROLL for (int k = 0; k < WIDTH; k++)
            z[k] = v + k < l->vocab ? *plumb_sample_piece(l, r->m, v + k, &piece) : -INFINITY;
    }
    if (r->j->seen || r->j->bias) adjust(r, v, z);
}

PLUMB_DEVICE sample_mass weight_of(const struct sample_row_of *r, float z)
{
    return (sample_mass)(expf(z - r->largest) * (float)(1ull << r->j->shift));
}

/* ---- the block ---- */

/* The sum of x over the threads before this one; *all is that of the block. */
PLUMB_DEVICE sample_mass sum_before(struct sample_shared *s, sample_mass x, sample_mass *all)
{
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    sample_mass sum = x, before = 0, total = 0;
    for (unsigned d = 1; d < 32; d *= 2) {
        const sample_mass other = __shfl_up_sync(FULL, sum, d);
        if (lane >= d) sum += other;
    }
    if (lane == 31) s->sum[warp] = sum;
    __syncthreads();
    for (unsigned w = 0; w < WARPS; w++) {
        if (w < warp) before += s->sum[w];
        total += s->sum[w];
    }
    __syncthreads();
    *all = total;
    return before + sum - x;
}

/* The row's largest logit and its smallest id, in every thread; id -1 where the row has nothing to
 * offer. */
PLUMB_DEVICE void block_peak(struct sample_shared *s, float *peak, int32_t *id, bool odd)
{
    for (int d = 16; d; d /= 2) {
        const float other = __shfl_xor_sync(FULL, *peak, d);
        const int32_t at = __shfl_xor_sync(FULL, *id, d);
        if (other > *peak || (other == *peak && at < *id)) *peak = other, *id = at;
    }
    odd = __any_sync(FULL, odd);
    if (threadIdx.x % 32 == 0) {
        s->peak[threadIdx.x / 32] = *peak;
        s->first[threadIdx.x / 32] = odd ? -1 : *id;
    }
    __syncthreads();
    *peak = -INFINITY, *id = INT32_MAX;
    for (int w = 0; w < WARPS; w++) {
        odd |= s->first[w] < 0;
        if (s->peak[w] > *peak || (s->peak[w] == *peak && s->first[w] < *id))
            *peak = s->peak[w], *id = s->first[w];
    }
    __syncthreads();
    if (odd || !(*peak > -INFINITY)) *id = -1;
}

/* The largest of this thread's logits, then of the row. */
PLUMB_DEVICE int32_t find_peak(struct sample_row_of *r, float *mine)
{
    const int64_t vocab = r->j->a.logits.vocab;
    int32_t id = INT32_MAX;
    bool odd = false;
    *mine = -INFINITY;
    for (int64_t v = WIDTH * threadIdx.x; v < vocab; v += WIDTH * THREADS) {
        float z[WIDTH];
        four_of(r, v, z);
        PLUMB_UNROLL for (int k = 0; k < WIDTH; k++)
        {
            odd |= !(z[k] <= FLT_MAX);
            if (z[k] > *mine) *mine = z[k], id = (int32_t)(v + k);
        }
    }
    r->largest = *mine;
    block_peak(r->s, &r->largest, &id, odd);
    return id;
}

/* ---- searches ---- */

struct sample_search {
    bool by_mass;
    sample_mass wanted, above, equal; /* equal: weight of the logits that equal the last one kept */
    uint32_t prefix;
    float floor;
};

PLUMB_DEVICE void tally(const struct sample_row_of *r, const struct sample_search *q, int stage,
                        float z, int64_t id)
{
    const uint32_t order = plumb_sample_order(z);
    if (!(z >= q->floor) || !plumb_sample_match(order, q->prefix, stage)) return;
    if (!plumb_sample_keeps(&r->kept, z, id)) return;
    atomicAdd(&r->s->bin[plumb_sample_digit(order, stage)], q->by_mass ? weight_of(r, z) : 1ull);
}

/* The digit at which what is wanted is reached, from the highest down. Thread t owns bins 2t and
 * 2t + 1; afterwards they are empty. */
PLUMB_DEVICE void settle(struct sample_shared *s, struct sample_search *q, int stage)
{
    __syncthreads();
    sample_mass *bin = s->bin + 2 * threadIdx.x, all;
    const sample_mass low = bin[0], high = bin[1];
    const sample_mass larger = sum_before(s, low + high, &all);
    const sample_mass above = q->above + (all - larger - low - high);
    bin[0] = bin[1] = 0;
    if (q->wanted > q->above + all) q->wanted = q->above + all; /* fewer than k are above -inf */
    if (q->wanted > above && q->wanted <= above + high + low) {
        const bool upper = q->wanted <= above + high;
        s->digit = 2 * threadIdx.x + upper;
        s->above = upper ? above : above + high;
        s->equal = upper ? high : low;
    }
    __syncthreads();
    q->above = s->above, q->equal = s->equal;
    q->prefix |= s->digit << plumb_sample_shift(stage);
    const float least = plumb_sample_logit(q->prefix);
    if (least > q->floor) q->floor = least;
    __syncthreads();
}

/* A bound for the k-th largest logit from below: the k-th largest of what the threads have seen. */
PLUMB_DEVICE float bound_of(const struct sample_row_of *r, int64_t k, float mine)
{
    struct sample_search q = { false, (sample_mass)k, 0, 0, 0, -FLT_MAX };
    sample_mass all;
    sum_before(r->s, mine > -INFINITY ? 1 : 0, &all);
    if ((sample_mass)k > all) return -FLT_MAX;
    for (int stage = 0; stage < PLUMB_SAMPLE_STAGES; stage++) {
        tally(r, &q, stage, mine, 0);
        settle(r->s, &q, stage);
    }
    return q.floor;
}

/* The id of the n-th kept logit of this value; there are more. */
PLUMB_DEVICE int32_t equal_at(const struct sample_row_of *r, float value, sample_mass n)
{
    const int64_t vocab = r->j->a.logits.vocab;
    sample_mass passed = 0, all = 0;
    for (int64_t from = 0; from < vocab && passed < n; from += WIDTH * THREADS) {
        const int64_t v = from + WIDTH * threadIdx.x;
        float z[WIDTH];
        int equal = 0;
        if (v < vocab) {
            four_of(r, v, z);
            PLUMB_UNROLL for (int k = 0; k < WIDTH; k++)
                equal += z[k] == value && plumb_sample_keeps(&r->kept, value, v + k);
        }
        sample_mass before = passed + sum_before(r->s, (sample_mass)equal, &all);
        if (equal && before < n && before + equal >= n) {
            PLUMB_UNROLL for (int k = 0; k < WIDTH; k++)
            {
                if (z[k] != value || !plumb_sample_keeps(&r->kept, value, v + k)) continue;
                if (++before == n) r->s->id = (int32_t)(v + k);
            }
        }
        passed += all;
        __syncthreads();
    }
    return r->s->id;
}

/* Shortens what is kept to the prefix that reaches what is wanted. */
PLUMB_DEVICE void shorten(struct sample_row_of *r, struct sample_search *q)
{
    const int64_t vocab = r->j->a.logits.vocab;
    for (int stage = 0; stage < PLUMB_SAMPLE_STAGES; stage++) {
        for (int64_t v = WIDTH * threadIdx.x; v < vocab; v += WIDTH * THREADS) {
            float z[WIDTH];
            four_of(r, v, z);
            PLUMB_UNROLL for (int k = 0; k < WIDTH; k++) tally(r, q, stage, z[k], v + k);
        }
        settle(r->s, q, stage);
    }
    const float value = plumb_sample_logit(q->prefix);
    const sample_mass each = q->by_mass ? weight_of(r, value) : 1;
    const sample_mass n = (q->wanted - q->above + each - 1) / each;
    const int32_t last = value > r->kept.least ? INT32_MAX : r->kept.last;
    const int32_t cut = n * each < q->equal ? equal_at(r, value, n) : last;
    r->kept = plumb_sample_kept{ value, cut };
}

/* What is kept of the row weighs, by strips of ids: the strip of each warp in s->sum. */
PLUMB_DEVICE sample_mass weigh(const struct sample_row_of *r, int64_t strip)
{
    const int64_t vocab = r->j->a.logits.vocab, from = strip * (threadIdx.x / 32);
    const int64_t end = from + strip < vocab ? from + strip : vocab;
    sample_mass sum = 0, all = 0;
    for (int64_t v = from + WIDTH * (threadIdx.x % 32); v < end; v += WIDTH * 32) {
        float z[WIDTH];
        four_of(r, v, z);
        PLUMB_UNROLL for (int k = 0; k < WIDTH; k++)
        {
            if (plumb_sample_keeps(&r->kept, z[k], v + k)) sum += weight_of(r, z[k]);
        }
    }
    for (int d = 16; d; d /= 2)
        sum += __shfl_xor_sync(FULL, sum, d);
    if (threadIdx.x % 32 == 0) r->s->sum[threadIdx.x / 32] = sum;
    __syncthreads();
    for (int w = 0; w < WARPS; w++)
        all += r->s->sum[w];
    return all;
}

PLUMB_DEVICE int64_t strip_of(int64_t vocab)
{
    const int64_t all = WARPS * 32 * WIDTH;
    return (vocab + all - 1) / all * 32 * WIDTH;
}

PLUMB_DEVICE void keep_top_k(struct sample_row_of *r, float mine)
{
    const int64_t k = r->j->a.top_k;
    struct sample_search q = { false, (sample_mass)k, 0, 0, 0, bound_of(r, k, mine) };
    shorten(r, &q);
}

/* All tokens of less than half of (1 - top_p) / vocab weigh less than 1 - top_p together: none of
 * them is needed. */
PLUMB_DEVICE void keep_top_p(struct sample_row_of *r)
{
    const int64_t vocab = r->j->a.logits.vocab;
    const double top_p = r->j->a.top_p;
    const sample_mass all = weigh(r, strip_of(vocab));
    if (threadIdx.x == 0) {
        const double share = (double)all / (double)(1ull << r->j->shift) * (1 - top_p);
        const float floor = r->largest + (float)log(share / (2 * (double)vocab));
        r->s->floor = floor >= -FLT_MAX ? floor : -FLT_MAX;
    }
    __syncthreads();
    const double wanted = ceil(top_p * (double)all);
    struct sample_search q = { true, wanted > 1 ? (sample_mass)wanted : 1, 0, 0, 0, r->s->floor };
    if (q.floor < r->kept.least) q.floor = r->kept.least;
    shorten(r, &q);
}

/* ---- a row ---- */

PLUMB_DEVICE void write(const struct sample_row_of *r, int64_t id, double logp)
{
    const struct plumb_sample *a = &r->j->a;
    a->token[r->m] = (int32_t)id;
    if (a->logp.data) static_cast<float *>(a->logp.data)[r->m] = logp > 0 ? 0.0f : (float)logp;
}

/* The first kept token at which the sum exceeds bits / 2^64 of all. */
PLUMB_DEVICE void draw(const struct sample_row_of *r)
{
    const int64_t vocab = r->j->a.logits.vocab, strip = strip_of(vocab);
    const sample_mass all = weigh(r, strip);
    const sample_mass wanted = __umul64hi(plumb_sample_bits(&r->j->a, r->m), all);
    sample_mass passed = 0, here = 0;
    int64_t from = 0;
    for (int w = 0; passed + r->s->sum[w] <= wanted; w++, from += strip)
        passed += r->s->sum[w];
    const int64_t end = from + strip < vocab ? from + strip : vocab;
    __syncthreads();
    for (; passed <= wanted; from += WIDTH * THREADS) {
        const int64_t v = from + WIDTH * threadIdx.x;
        float z[WIDTH];
        sample_mass e[WIDTH] = {}, sum = 0;
        if (v < end) {
            four_of(r, v, z);
            PLUMB_UNROLL for (int k = 0; k < WIDTH; k++)
            {
                if (plumb_sample_keeps(&r->kept, z[k], v + k)) e[k] = weight_of(r, z[k]);
                sum += e[k];
            }
        }
        sample_mass at = passed + sum_before(r->s, sum, &here);
        const bool mine = at <= wanted && at + sum > wanted;
        PLUMB_UNROLL for (int k = 0; k < WIDTH; k++)
        {
            if (mine && at <= wanted && at + e[k] > wanted)
                write(r, v + k,
                      (double)z[k] - (double)r->largest -
                          log((double)all / (double)(1ull << r->j->shift)));
            at += e[k];
        }
        passed += here;
    }
}

/* Marks what the row has seen. */
PLUMB_DEVICE void mark_seen(const struct sample_job *j, int64_t m)
{
    uint32_t *seen = j->seen + m * j->words;
    for (int64_t w = threadIdx.x; w < j->words; w += THREADS)
        seen[w] = 0;
    __syncthreads();
    const int64_t end = j->a.seen_offset[m + 1];
    for (int64_t i = (int64_t)j->a.seen_offset[m] + threadIdx.x; i < end; i += THREADS) {
        const int32_t v = j->a.seen[i];
        if (v >= 0 && v < j->a.logits.vocab) atomicOr(&seen[v / 32], 1u << v % 32);
    }
    __syncthreads();
}

static __global__ void __launch_bounds__(THREADS)
    sample_rows(const __grid_constant__ struct sample_job j)
{
    __shared__ struct sample_shared s;
    struct sample_row_of r = { &j, &s, (int64_t)blockIdx.x, 0, { -INFINITY, -1 } };
    float mine;
    s.bin[2 * threadIdx.x] = s.bin[2 * threadIdx.x + 1] = 0;
    if (j.seen) mark_seen(&j, r.m);
    const int32_t first = find_peak(&r, &mine);
    if (first < 0 || j.a.greedy) {
        if (threadIdx.x == 0) write(&r, first, first < 0 ? (double)NAN : 0);
        return;
    }
    if (j.a.top_k > 0 && j.a.top_k < j.a.logits.vocab) keep_top_k(&r, mine);
    if (j.a.top_p < 1) keep_top_p(&r);
    if (j.a.min_p > 0) plumb_sample_min_p(&r.kept, r.largest, j.log_min_p);
    draw(&r);
}

static __global__ void sample_spread(const __grid_constant__ struct sample_job j)
{
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= j.a.biases) return;
    const int32_t v = j.a.bias_token[i];
    if (v >= 0 && v < j.a.logits.vocab) j.bias[v] = static_cast<const float *>(j.a.bias.data)[i];
}

/* ---- host ---- */

static int64_t round_up(int64_t x, int64_t to) { return plumb_ceil_div(x, to) * to; }

/* Where scratch lies behind `base`, if there is any yet; returns its size. */
static int64_t lay_out(struct sample_job *j, char *base)
{
    const struct plumb_logits *l = &j->a.logits;
    int64_t at = 0;
    j->words = round_up(plumb_ceil_div(l->vocab, 32), ALIGN / sizeof *j->seen);
    if (j->a.biases > 0) {
        if (base) j->bias = reinterpret_cast<float *>(base + at);
        at += round_up(l->vocab * (int64_t)sizeof *j->bias, ALIGN);
    }
    if (j->a.seen_offset) {
        if (base) j->seen = reinterpret_cast<uint32_t *>(base + at);
        at += l->rows * j->words * (int64_t)sizeof *j->seen;
    }
    return at;
}

static int64_t sample_workspace(const struct plumb_device *, const struct plumb_sample *a)
{
    struct sample_job j = {};
    j.a = *a;
    return lay_out(&j, NULL) + ALIGN;
}
PLUMB_GPU_OP(sample_workspace, plumb_sample);

/* Whether each four ids from a multiple of 4 on lie together and at 16 bytes. */
static bool is_wide(const struct plumb_logits *l)
{
    const int64_t tail = l->vocab % l->slice;
    if (l->stride || l->slice >= l->vocab)
        return plumb_aligned16(l->z, l->stride ? l->stride : l->vocab);
    return plumb_aligned16(l->z, l->slice) && tail % WIDTH == 0;
}

static int sample(const struct plumb_device *dev, const struct plumb_sample *a)
{
    cudaStream_t stream = plumb_gpu_stream(dev);
    struct sample_job j = {};
    j.a = *a;
    j.log_min_p = log(a->min_p), j.wide = is_wide(&a->logits);
    for (j.shift = 62; j.shift > 0 && a->logits.vocab > (int64_t)1 << (62 - j.shift);)
        j.shift--;
    char *work = static_cast<char *>(a->work.data);
    lay_out(&j, work + (ALIGN - (uintptr_t)work % ALIGN) % ALIGN);
    if (a->repetition_penalty == 1) j.seen = NULL;
    if (a->biases > 0) {
        const size_t bytes = (size_t)round_up(a->logits.vocab, WIDTH) * sizeof *j.bias;
        PLUMB_TRY(plumb_gpu_status(cudaMemsetAsync(j.bias, 0, bytes, stream), "sample"));
        PLUMB_TRY(plumb_gpu_status(PLUMB_LAUNCH(sample_spread,
                                                (unsigned)plumb_ceil_div(a->biases, THREADS),
                                                THREADS, 0, stream, j),
                                   "sample"));
    }
    return plumb_gpu_status(
        PLUMB_LAUNCH(sample_rows, (unsigned)a->logits.rows, THREADS, 0, stream, j), "sample");
}
PLUMB_GPU_OP(sample, plumb_sample);
