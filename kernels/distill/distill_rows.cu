/* Row work of the divergences on a device: a block takes a row and goes over its logits three
 * times: for the two softmaxes, for the divergence, for the gradient. Its number of threads follows
 * from the vocabulary alone and every sum has a fixed order, so a row's bits depend on nothing but
 * its logits. */
#include "kernels/distill/distill_eval.h"

#include "kernels/distill/distill_gpu.h"

enum { WIDTH = 4, MOST_THREADS = 512, MOST_WARPS = MOST_THREADS / 32 };

struct distill_row_job {
    float *z; /* the gradient takes its place */
    const float *y;
    int64_t tall;
    int vocab, formula;
    bool gradient;
    struct plumb_logit_shape policy, teacher;
    float beta, alpha;
    double divisor;
    const int32_t *good;
    const float *weight;
    float *losses, *entropy;
};

PLUMB_DEVICE float shaped(const struct plumb_logit_shape *f, float u)
{
    return f->capped ? f->out * tanhf(u * f->in) : u * f->in;
}

/* Shaped logits of columns c .. c+3; what lies past the vocabulary is -inf. */
PLUMB_DEVICE plumb_vec<float> read_four(const float *u, int c, int vocab,
                                        const struct plumb_logit_shape *f)
{
    plumb_vec<float> v;
    if (c + WIDTH <= vocab)
        v = plumb_ld16(u + c);
    else
        PLUMB_UNROLL for (int k = 0; k < WIDTH; k++) v.v[k] = c + k < vocab ? u[c + k] : 0.0f;
    PLUMB_UNROLL for (int k = 0; k < WIDTH; k++) v.v[k] = c + k < vocab ? shaped(f, v.v[k])
                                                                        : -INFINITY;
    return v;
}

/* A softmax, of what one thread or the whole block has seen: sum of e^(z - top). */
struct distill_softmax {
    float top, sum;
};

PLUMB_DEVICE void see(struct distill_softmax *s, const plumb_vec<float> &z)
{
    float top = s->top;
    PLUMB_UNROLL for (int k = 0; k < WIDTH; k++) top = z.v[k] > top ? z.v[k] : top;
    const float base = top > -INFINITY ? top : 0.0f; /* -inf - -inf would be NaN */
    if (top > s->top) s->sum *= expf(s->top - top);
    PLUMB_UNROLL for (int k = 0; k < WIDTH; k++) s->sum += expf(z.v[k] - base);
    s->top = top;
}

PLUMB_DEVICE double warp_sum(double x)
{
    for (int d = 16; d; d /= 2)
        x += __shfl_xor_sync(~0u, x, d);
    return x;
}

/* The block's sum, in every thread. */
PLUMB_DEVICE double block_sum(double x, double *shared)
{
    x = warp_sum(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    double sum = 0;
    for (unsigned w = 0; w < blockDim.x / 32; w++)
        sum += shared[w];
    return sum;
}

PLUMB_DEVICE float block_top(float x, double *shared)
{
    for (int d = 16; d; d /= 2) {
        const float other = __shfl_xor_sync(~0u, x, d);
        x = other > x ? other : x;
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = (double)x;
    __syncthreads();
    for (unsigned w = 0; w < blockDim.x / 32; w++)
        x = (float)shared[w] > x ? (float)shared[w] : x;
    return x;
}

/* log p = z - top - log_sum, p = e^(z - top) share. */
struct distill_chances {
    float top, log_sum, share;
};

PLUMB_DEVICE struct distill_chances block_softmax(const struct distill_softmax *s, double *shared)
{
    const float top = block_top(s->top, shared);
    const float base = top > -INFINITY ? top : 0.0f;
    const double sum = block_sum((double)s->sum * exp((double)s->top - (double)base), shared);
    const double log_sum = top > -INFINITY ? log(sum) : (double)NAN;
    return distill_chances{ base, (float)log_sum, (float)(1.0 / sum) };
}

struct distill_share {
    float value, slope, direct, p, logp;
};

PLUMB_DEVICE struct distill_share share_of(const struct distill_row_job *j, float z, float y,
                                           const struct distill_chances *policy,
                                           const struct distill_chances *teacher)
{
    const float dp = z - policy->top, dq = y - teacher->top;
    struct plumb_chance c = { plumb_finite(dp - policy->log_sum),
                              plumb_finite(dq - teacher->log_sum),
                              expf(dp) * policy->share,
                              expf(dq) * teacher->share,
                              j->beta,
                              j->alpha };
    struct plumb_chance_grad g = { 0, 0 };
    const float value = plumb_chance_eval(j->formula, &c, &g);
    return distill_share{ value, g.slope, g.direct, c.p, c.logp };
}

/* Four elements, or the `left` that there are of them. */
template <class T> PLUMB_DEVICE void store_four(T *to, const plumb_vec<float> &g, int left)
{
    if (left >= WIDTH) {
        distill_put4(to, g);
        return;
    }
    PLUMB_UNROLL for (int k = 0; k < WIDTH; k++) if (k < left) plumb_narrow(to + k, g.v[k]);
}

/* In place: a bf16 gradient takes the first half of the row of logits, whose elements all threads
 * have read by then. */
template <class T>
PLUMB_DEVICE void write_gradient(const struct distill_row_job *j, float *z, const float *y,
                                 float pull, float up, const struct distill_chances *policy,
                                 const struct distill_chances *teacher)
{
    T *to = reinterpret_cast<T *>(z);
    const int step = (int)blockDim.x * WIDTH;
    for (int from = 0; from < j->vocab; from += step) {
        const int c = from + (int)threadIdx.x * WIDTH;
        plumb_vec<float> g = { { 0, 0, 0, 0 } };
        if (c < j->vocab && up != 0) {
            const plumb_vec<float> a = read_four(z, c, j->vocab, &j->policy);
            const plumb_vec<float> b = read_four(y, c, j->vocab, &j->teacher);
            PLUMB_UNROLL for (int k = 0; k < WIDTH; k++)
            {
                const struct distill_share s = share_of(j, a.v[k], b.v[k], policy, teacher);
                const float d = plumb_finite(s.p * (s.slope - pull)) + s.direct;
                const float bend = a.v[k] * j->policy.back;
                g.v[k] = plumb_finite(d * up) * (j->policy.slope * (1.0f - bend * bend));
            }
        }
        if (sizeof(T) < sizeof(float)) __syncthreads();
        if (c < j->vocab) store_four(to + c, g, j->vocab - c);
    }
}

template <class T>
__global__ void __launch_bounds__(MOST_THREADS)
    distill_rows(const __grid_constant__ struct distill_row_job j)
{
    __shared__ double shared[MOST_WARPS];
    const int64_t i = blockIdx.x;
    float *z = j.z + i * j.tall;
    const float *y = j.y + i * j.tall;
    const float weight = j.weight ? j.weight[i] : 1.0f;
    const bool good = j.good[i] != 0;
    struct distill_chances policy = {}, teacher = {};
    double value = 0, pull = 0, entropy = 0;
    if (good && weight != 0) {
        struct distill_softmax p = { -INFINITY, 0 }, q = { -INFINITY, 0 };
        for (int c = (int)threadIdx.x * WIDTH; c < j.vocab; c += (int)blockDim.x * WIDTH) {
            see(&p, read_four(z, c, j.vocab, &j.policy));
            see(&q, read_four(y, c, j.vocab, &j.teacher));
        }
        policy = block_softmax(&p, shared), teacher = block_softmax(&q, shared);
        float part[3] = { 0, 0, 0 };
        for (int c = (int)threadIdx.x * WIDTH; c < j.vocab; c += (int)blockDim.x * WIDTH) {
            const plumb_vec<float> a = read_four(z, c, j.vocab, &j.policy);
            const plumb_vec<float> b = read_four(y, c, j.vocab, &j.teacher);
            PLUMB_UNROLL for (int k = 0; k < WIDTH; k++)
            {
                const struct distill_share s = share_of(&j, a.v[k], b.v[k], &policy, &teacher);
                if (c + k >= j.vocab) continue;
                part[0] += s.value;
                part[1] += plumb_finite(s.p * s.slope) + s.direct;
                part[2] -= s.p * s.logp;
            }
        }
        value = block_sum((double)part[0], shared), pull = block_sum((double)part[1], shared);
        entropy = block_sum((double)part[2], shared);
    }
    if (threadIdx.x == 0) {
        j.losses[i] = good ? plumb_saturate((double)weight * value) : (float)NAN;
        if (j.entropy) j.entropy[i] = good ? plumb_saturate(entropy) : (float)NAN;
    }
    const float up = good ? plumb_saturate((double)weight / j.divisor) : 0.0f;
    if (j.gradient) write_gradient<T>(&j, z, y, plumb_saturate(pull), up, &policy, &teacher);
}

int distill_measure(const struct distill_chunk *c)
{
    const struct plumb_distill *a = c->a;
    const float *weight = (const float *)a->weight.data;
    struct distill_row_job j = {};
    j.z = distill_tile(c, c->at.z), j.y = distill_tile(c, c->at.y), j.tall = c->at.tall;
    j.vocab = (int)c->at.vocab, j.formula = plumb_distill_formula(a), j.gradient = c->gradient;
    j.policy = plumb_distill_shape(a, &a->policy), j.teacher = plumb_distill_shape(a, &a->teacher);
    j.beta = (float)a->beta, j.alpha = (float)a->alpha, j.divisor = a->divisor;
    j.good = reinterpret_cast<const int32_t *>(c->scratch + c->at.good);
    j.weight = weight ? weight + c->first : NULL;
    j.losses = (float *)a->losses.data + c->first;
    j.entropy = a->entropy.data ? (float *)a->entropy.data + c->first : NULL;
    const int64_t warps = plumb_ceil_div(c->at.vocab, 32 * WIDTH);
    const unsigned threads = warps < MOST_WARPS ? (unsigned)warps * 32 : (unsigned)MOST_THREADS;
    cudaStream_t stream = plumb_gpu_stream(c->dev);
    const cudaError_t e = a->policy.x.dtype == PLUMB_BF16
                              ? PLUMB_LAUNCH(distill_rows<__nv_bfloat16>, (unsigned)c->rows,
                                             threads, 0, stream, j)
                              : PLUMB_LAUNCH(distill_rows<float>, (unsigned)c->rows, threads, 0,
                                             stream, j);
    return plumb_gpu_status(e, "distill");
}
