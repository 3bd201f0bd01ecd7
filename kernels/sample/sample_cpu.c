/* Native sampling, a row a thread. A first pass remembers the largest logit of each group of ids
 * (and, where all of the distribution is wanted, each block's mass); searches then look only into
 * groups that can hold what they look for. Sums are in f64 and in the order of ids. Compiled once
 * per instruction set. */
#include <math.h>

#include "kernels/op.h"
#include "kernels/sample/sample_row.h"
#include "kernels/sample/sample_work.h"
#include "kernels/simd.h"

enum {
    LANES = 32,
    STEP = 16, /* logits looked at together */
    BLOCK = PLUMB_SAMPLE_BLOCK,
    GROUP = PLUMB_SAMPLE_GROUP,
    GROUPS = BLOCK / GROUP, /* of a block */
    BINS = PLUMB_SAMPLE_BINS,
    SPLIT = 4,
};

static const float UNDERFLOW = -87.0f; /* e^x is 0 below */

struct row {
    const struct plumb_sample *a;
    int64_t m, blocks;
    const uint64_t *seen; /* bits by id; NULL = none */
    const float *bias;    /* by id, and which blocks have one; NULL = none */
    const char *biased;
    double *mass;
    float *peak;
    float largest;
    struct plumb_sample_kept kept;
};

static int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }
static float larger(float x, float y) { return x > y ? x : y; }

/* ---- logits ---- */

static void penalise(const struct row *r, int64_t b, float *z)
{
    const uint64_t *seen = r->seen + b * (BLOCK / 64);
    for (int w = 0; w < BLOCK / 64; w++)
        for (uint64_t left = seen[w]; left; left &= left - 1) {
            const int i = 64 * w + __builtin_ctzll(left);
            z[i] = plumb_sample_penalise(z[i], r->a->repetition_penalty);
        }
}

static bool touched(const struct row *r, int64_t b)
{
    uint64_t any = r->biased && r->biased[b];
    for (int w = 0; r->seen && w < BLOCK / 64; w++)
        any |= r->seen[b * (BLOCK / 64) + w];
    return any != 0;
}

/* The block's adjusted logits, in `buffer` only where they must be; returns how many. */
static int64_t block(const struct row *r, int64_t b, float buffer[BLOCK], const float **z)
{
    const struct plumb_logits *l = &r->a->logits;
    const int64_t from = b * BLOCK, n = least(BLOCK, l->vocab - from);
    const bool change = touched(r, b);
    int64_t piece;
    *z = plumb_sample_piece(l, r->m, from, &piece);
    if (piece >= n && !change) return n;
    for (int64_t i = 0; i < n; i += piece) {
        const float *part = plumb_sample_piece(l, r->m, from + i, &piece);
        memcpy(buffer + i, part, (size_t)least(piece, n - i) * sizeof *part);
    }
    *z = buffer;
    if (!change) return n;
    if (r->seen) penalise(r, b, buffer);
    for (int64_t i = 0; r->biased && r->biased[b] && i < n; i++)
        buffer[i] = plumb_sample_add(buffer[i], r->bias[from + i]);
    return n;
}

/* The largest logit; *bad where one is NaN or +inf. */
static float largest_of(const float *z, int64_t n, int *bad)
{
    float m[LANES];
    int odd[LANES] = { 0 };
    int64_t v = 0;
    for (int l = 0; l < LANES; l++)
        m[l] = -INFINITY;
    for (; v + LANES <= n; v += LANES)
        for (int l = 0; l < LANES; l++) {
            m[l] = z[v + l] > m[l] ? z[v + l] : m[l];
            odd[l] |= !(z[v + l] <= FLT_MAX);
        }
    for (int l = 0; v < n; v++, l++) {
        m[l] = larger(m[l], z[v]);
        odd[l] |= !(z[v] <= FLT_MAX);
    }
    for (int w = LANES / 2; w; w /= 2)
        for (int l = 0; l < w; l++) {
            m[l] = larger(m[l], m[l + w]);
            odd[l] |= odd[l + w];
        }
    *bad |= odd[0];
    return m[0];
}

/* e^(z - base) of what is kept, for ids from `first` on. */
static inline void weights(double e[STEP], const float *z, int64_t n, int64_t first, float base,
                           const struct plumb_sample_kept *k)
{
    const float cut = k->least;
    const int32_t last = k->last, id = (int32_t)first;
#pragma omp simd
    for (int l = 0; l < (int)n; l++) {
        const float p = plumb_expf_below(z[l] - base);
        const bool keep = (z[l] > cut) | ((z[l] == cut) & (id + l <= last));
        e[l] = keep ? (double)p : 0.0;
    }
}

static double sum_of(const float *z, int64_t n, int64_t first, float base,
                     const struct plumb_sample_kept *k)
{
    double lane[STEP] = { 0 }, e[STEP], sum = 0;
    for (int64_t v = 0; v < n; v += STEP) {
        const int64_t width = least(STEP, n - v);
        if (width == STEP)
            weights(e, z + v, STEP, first + v, base, k);
        else
            weights(e, z + v, width, first + v, base, k);
        for (int l = 0; l < (int)width; l++)
            lane[l] += e[l];
    }
    for (int l = 0; l < STEP; l++)
        sum += lane[l];
    return sum;
}

/* ---- passes over a row ---- */

static float block_peak(const struct row *r, int64_t b)
{
    const float *p = r->peak + b * GROUPS;
    return larger(larger(p[0], p[1]), larger(p[2], p[3]));
}

/* Peaks, and masses relative to the largest logit where wanted. False where the row has nothing to
 * offer. */
static bool first_pass(struct row *r, bool masses)
{
    float buffer[BLOCK];
    const float *z;
    int bad = 0;
    r->largest = -INFINITY;
    for (int64_t b = 0; b < r->blocks; b++) {
        const int64_t n = block(r, b, buffer, &z);
        for (int64_t g = 0; g < GROUPS; g++) {
            const int64_t left = n - g * GROUP;
            r->peak[b * GROUPS + g] = largest_of(z + g * GROUP, left > 0 ? least(left, GROUP) : 0,
                                                 &bad);
        }
        const float peak = block_peak(r, b);
        r->largest = larger(r->largest, peak);
        if (!masses) continue;
        r->mass[b] = peak > -INFINITY ? sum_of(z, n, b * BLOCK, peak, &r->kept) : 0;
    }
    for (int64_t b = 0; masses && b < r->blocks; b++)
        r->mass[b] *= exp((double)block_peak(r, b) - (double)r->largest);
    return !bad && r->largest > -INFINITY;
}

static void weigh(struct row *r)
{
    float buffer[BLOCK];
    const float *z;
    for (int64_t b = 0; b < r->blocks; b++) {
        r->mass[b] = 0;
        if (block_peak(r, b) < r->kept.least) continue;
        const int64_t n = block(r, b, buffer, &z);
        r->mass[b] = sum_of(z, n, b * BLOCK, r->largest, &r->kept);
    }
}

static double total(const struct row *r)
{
    double sum = 0;
    for (int64_t b = 0; b < r->blocks; b++)
        sum += r->mass[b];
    return sum;
}

/* ---- searches ---- */

/* What a search has settled, and what it looks at. */
struct search {
    bool by_mass;  /* adds up e^(z - largest) instead of 1 */
    double wanted; /* reached by the prefix that is looked for */
    double above;  /* in logits larger than those that match */
    uint32_t prefix;
    int stage;
    float floor, ceiling; /* smaller and larger logits are out of the question */
    float largest;
    struct plumb_sample_kept kept;
    double bin[BINS][SPLIT]; /* by place as well: sums of one digit need not wait for each other */
};

/* 1 for what is kept, for ids from `first` on. */
static inline void count(double e[STEP], const float *z, int64_t n, int64_t first,
                         const struct plumb_sample_kept *k)
{
    const float cut = k->least;
    const int32_t last = k->last, id = (int32_t)first;
#pragma omp simd
    for (int l = 0; l < (int)n; l++)
        e[l] = (z[l] > cut) | ((z[l] == cut) & (id + l <= last)) ? 1.0 : 0.0;
}

/* The digits to be settled, and e = 0 for logits out of the question: without a branch, for which
 * way each would go is anyone's guess. */
static inline void digits(const struct search *s, uint32_t digit[STEP], double e[STEP],
                          const float *z, int64_t n)
{
    const float floor = s->floor, ceiling = s->ceiling;
    const uint32_t shift = (uint32_t)plumb_sample_shift(s->stage);
    const uint32_t most = plumb_sample_digit(~0u, s->stage);
#pragma omp simd
    for (int l = 0; l < (int)n; l++) {
        const uint32_t u = plumb_bits_of_f32(z[l] + 0.0f); /* both zeros are one */
        const uint32_t order = u ^ ((u >> 31 ? ~0u : 0u) | 0x80000000u);
        digit[l] = order >> shift & most;
        e[l] = (z[l] >= floor) & (z[l] <= ceiling) ? e[l] : 0.0;
    }
}

static void tally(struct search *s, const float *z, int64_t n, int64_t first)
{
    for (int64_t v = 0; v < n; v += STEP) {
        const int64_t width = least(STEP, n - v);
        int any = 0;
        uint32_t digit[STEP];
        double e[STEP];
        for (int64_t l = 0; l < width; l++)
            any |= (z[v + l] >= s->floor) & (z[v + l] <= s->ceiling);
        if (!any) continue;
        if (s->by_mass)
            weights(e, z + v, width, first + v, s->largest, &s->kept);
        else
            count(e, z + v, width, first + v, &s->kept);
        digits(s, digit, e, z + v, width);
        for (int64_t l = 0; l < width; l++)
            s->bin[digit[l]][l % SPLIT] += e[l];
    }
}

/* The digit at which what is wanted is reached, or the last there is; bins are empty afterwards. */
static void settle(struct search *s)
{
    double here = 0;
    int found = -1;
    for (int d = BINS - 1; d >= 0; d--) {
        const double *part = s->bin[d], sum = part[0] + part[1] + part[2] + part[3];
        if (sum == 0) continue;
        if (found >= 0) s->above += here;
        found = d;
        here = sum;
        if (s->above + here >= s->wanted) break;
    }
    const int shift = plumb_sample_shift(s->stage++);
    s->prefix |= (uint32_t)(found > 0 ? found : 0) << shift;
    s->ceiling = plumb_sample_logit(s->prefix | ((1u << shift) - 1));
    s->floor = larger(s->floor, plumb_sample_logit(s->prefix));
    memset(s->bin, 0, sizeof s->bin);
}

/* The id of the n-th kept logit that equals z, or of the last one. */
static int32_t equal_at(const struct row *r, float value, double n)
{
    float buffer[BLOCK];
    const float *z;
    int32_t id = -1;
    for (int64_t b = 0; b < r->blocks; b++) {
        if (block_peak(r, b) < value) continue;
        const int64_t width = block(r, b, buffer, &z);
        for (int64_t i = 0; i < width; i++) {
            if (z[i] != value || !plumb_sample_keeps(&r->kept, value, b * BLOCK + i)) continue;
            id = (int32_t)(b * BLOCK + i);
            if (--n <= 0) return id;
        }
    }
    return id;
}

/* Shortens what is kept to the prefix that reaches what is wanted. */
static void shorten(struct row *r, struct search *s)
{
    float buffer[BLOCK];
    const float *z;
    s->largest = s->ceiling = r->largest;
    s->kept = r->kept;
    while (s->stage < PLUMB_SAMPLE_STAGES) {
        for (int64_t b = 0; b < r->blocks; b++) {
            if (block_peak(r, b) < s->floor) continue;
            const int64_t n = block(r, b, buffer, &z);
            for (int64_t g = 0; g * GROUP < n; g++)
                if (r->peak[b * GROUPS + g] >= s->floor)
                    tally(s, z + g * GROUP, least(GROUP, n - g * GROUP), b * BLOCK + g * GROUP);
        }
        settle(s);
    }
    const float value = plumb_sample_logit(s->prefix);
    const double each = s->by_mass ? (double)plumb_expf_below(value - r->largest) : 1;
    r->kept.last = equal_at(r, value, ceil((s->wanted - s->above) / each));
    r->kept.least = value;
}

/* A bound for the k-th largest logit from below: the k-th largest peak. */
static float bound_of(const struct row *r, int64_t k)
{
    const int64_t groups = r->blocks * GROUPS;
    struct search s = { .wanted = (double)k,
                        .floor = -FLT_MAX,
                        .ceiling = FLT_MAX,
                        .kept = { -INFINITY, -1 } };
    int64_t peaks = 0;
    for (int64_t g = 0; g < groups; g++)
        peaks += r->peak[g] > -INFINITY;
    if (peaks < k) return -FLT_MAX;
    while (s.stage < PLUMB_SAMPLE_STAGES) {
        tally(&s, r->peak, groups, 0);
        settle(&s);
    }
    return plumb_sample_logit(s.prefix);
}

static void keep_top_k(struct row *r)
{
    struct search s = { .wanted = (double)r->a->top_k, .floor = bound_of(r, r->a->top_k) };
    shorten(r, &s);
}

/* All tokens of less than half of (1 - top_p) / vocab weigh less than 1 - top_p together: none of
 * them is needed. */
static void keep_top_p(struct row *r)
{
    const double sum = total(r), V = (double)r->a->logits.vocab;
    const double needless = log(sum * (1 - r->a->top_p) / (2 * V));
    struct search s = { .by_mass = true, .wanted = r->a->top_p * sum };
    s.floor = larger(r->largest + larger((float)needless, UNDERFLOW), -FLT_MAX);
    s.floor = larger(s.floor, r->kept.least);
    shorten(r, &s);
}

/* ---- a row ---- */

/* The first kept token at which the sum exceeds `wanted`, or the last of any weight. */
static int64_t draw(const struct row *r, double wanted)
{
    float buffer[BLOCK];
    const float *z;
    double sum = 0, e[STEP];
    int64_t b = 0, id = -1;
    while (b < r->blocks - 1 && sum + r->mass[b] <= wanted)
        sum += r->mass[b++];
    while (!(r->mass[b] > 0)) /* the sum never exceeds what is wanted: rounding */
        b--;
    const int64_t n = block(r, b, buffer, &z);
    for (int64_t v = 0; v < n; v += STEP) {
        const int64_t width = least(STEP, n - v);
        weights(e, z + v, width, b * BLOCK + v, r->largest, &r->kept);
        for (int64_t l = 0; l < width; l++) {
            sum += e[l];
            if (e[l] > 0) id = b * BLOCK + v + l;
            if (e[l] > 0 && sum > wanted) return id;
        }
    }
    return id;
}

static float logit_at(const struct row *r, int64_t id)
{
    float buffer[BLOCK];
    const float *z;
    block(r, id / BLOCK, buffer, &z);
    return z[id % BLOCK];
}

static int32_t sample_row(struct row *r, float *logp)
{
    const struct plumb_sample *a = r->a;
    const bool by_count = a->top_k > 0 && a->top_k < a->logits.vocab, by_mass = a->top_p < 1;
    const bool masses = !a->greedy && !by_count && (by_mass || a->min_p <= 0);
    r->kept = (struct plumb_sample_kept){ -INFINITY, -1 };
    *logp = NAN;
    if (!first_pass(r, masses)) return -1;
    *logp = 0;
    if (a->greedy) return equal_at(r, r->largest, 1);
    if (by_count) keep_top_k(r);
    if (by_count && by_mass) weigh(r);
    if (by_mass) keep_top_p(r);
    if (a->min_p > 0) plumb_sample_min_p(&r->kept, r->largest, log(a->min_p));
    if (!masses || r->kept.least > -INFINITY) weigh(r);
    const double sum = total(r);
    const double uniform = ((double)(plumb_sample_bits(a, r->m) >> 12) + 0.5) * 0x1p-52;
    const int64_t id = draw(r, uniform * sum);
    const double p = (double)logit_at(r, id) - (double)r->largest - log(sum);
    *logp = p > 0 ? 0 : (float)p;
    return (int32_t)id;
}

static void mark_seen(const struct plumb_sample *a, int64_t m, int64_t blocks, uint64_t *seen)
{
    memset(seen, 0, (size_t)blocks * (BLOCK / 8));
    for (int64_t i = a->seen_offset[m]; i < a->seen_offset[m + 1]; i++)
        seen[a->seen[i] / 64] |= (uint64_t)1 << a->seen[i] % 64;
}

static void spread_biases(const struct plumb_sample *a, int64_t blocks, float *bias, char *biased)
{
    memset(bias, 0, (size_t)(blocks * BLOCK) * sizeof *bias);
    memset(biased, 0, (size_t)blocks);
    for (int64_t i = 0; i < a->biases; i++) {
        bias[a->bias_token[i]] = ((const float *)a->bias.data)[i];
        biased[a->bias_token[i] / BLOCK] = 1;
    }
}

int PLUMB_CPU_FN(plumb_sample_cpu)(const struct plumb_sample *a)
{
    const struct plumb_sample_layout at = plumb_sample_layout(a);
    const uintptr_t start = (uintptr_t)a->work.data;
    char *work = (char *)a->work.data +
                 (PLUMB_SAMPLE_ALIGN - start % PLUMB_SAMPLE_ALIGN) % PLUMB_SAMPLE_ALIGN;
    float *bias = a->biases > 0 ? (float *)(void *)(work + at.bias) : NULL;
    char *biased = a->biases > 0 ? work + at.biased : NULL;
    const bool penalty = a->seen_offset && a->repetition_penalty != 1;
    if (bias) spread_biases(a, at.blocks, bias, biased);
#pragma omp parallel for schedule(dynamic) if (plumb_worth_threads(a->logits.rows, a->logits.vocab))
    for (int64_t m = 0; m < a->logits.rows; m++) {
        char *own = work + at.row + (size_t)m * at.row_bytes;
        uint64_t *seen = penalty ? (uint64_t *)(void *)(own + at.seen) : NULL;
        struct row r = { .a = a,
                         .m = m,
                         .blocks = at.blocks,
                         .seen = seen,
                         .bias = bias,
                         .biased = biased,
                         .mass = (double *)(void *)(own + at.mass),
                         .peak = (float *)(void *)(own + at.peak) };
        float logp;
        if (seen) mark_seen(a, m, at.blocks, seen);
        a->token[m] = sample_row(&r, &logp);
        if (a->logp.data) ((float *)a->logp.data)[m] = logp;
    }
    return PLUMB_OK;
}
