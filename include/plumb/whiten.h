/* Whitening in two steps, so that micro-batches and ranks can share one mean and variance: moments
 * of an array, and what is made of it with given moments. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

/* Numbers of a set of moments, all f64 in the device's memory: how many values, their mean, the sum
 * of their squared distances from it, how many are not 0. */
enum { PLUMB_MOMENTS = 4 };

struct plumb_moments {
    size_t struct_bytes;
    int64_t M;
    const int32_t *counted;      /* (M) 0 = left out, whatever it holds; NULL = all count */
    struct plumb_tensor x;       /* (M) in, f32 */
    double *moments;             /* (PLUMB_MOMENTS) out */
    struct plumb_tensor work;    /* plumb_moments_workspace bytes */
};
/* f64, in fixed blocks merged in index order: bits depend on x alone. Nothing counted gives 0 0 0
 * 0. Merging: Chan, Golub, LeVeque 1979. */
int plumb_moments(const struct plumb_device *dev, const struct plumb_moments *a);
size_t plumb_moments_workspace(const struct plumb_device *dev, const struct plumb_moments *a);
void plumb_moments_ref(const struct plumb_moments *a, enum plumb_dtype round);

/* The moments of everything from those of its parts, merged in order. */
struct plumb_moments_merge {
    size_t struct_bytes;
    int64_t K;                   /* parts, e.g. ranks */
    const double *parts;         /* (K,PLUMB_MOMENTS) in */
    double *moments;             /* (PLUMB_MOMENTS) out; may lie in parts */
};
int plumb_moments_merge(const struct plumb_device *dev, const struct plumb_moments_merge *a);
void plumb_moments_merge_ref(const struct plumb_moments_merge *a, enum plumb_dtype round);

/* y = (x - mean) / (sqrt(max(var, least_variance) + root_epsilon) + epsilon), within +-limit; plus
 * mean with keep_mean. var = squares / (count - 1), or / count of a population; of one value 0. A
 * divisor of 0 gives 0 instead of the quotient. TRL's and verl's masked_whiten: root_epsilon 1e-8;
 * OpenRLHF's: population, least_variance 1e-8; normalised advantages: epsilon 1e-4 (TRL). */
struct plumb_whiten {
    size_t struct_bytes;
    int64_t M;
    const int32_t *counted;      /* (M) 0 = y is 0; NULL = all count */
    struct plumb_tensor x;       /* (M) in, f32 */
    const double *moments;       /* (PLUMB_MOMENTS) in */
    bool keep_mean, population;
    double root_epsilon, epsilon, least_variance; /* >= 0 */
    double limit;                /* >= 0; 0 = none */
    struct plumb_tensor y;       /* (M) out, f32; may be x */
};
/* Elementwise; saturates. Fails: PLUMB_EINVAL naming the argument. */
int plumb_whiten(const struct plumb_device *dev, const struct plumb_whiten *a);
void plumb_whiten_ref(const struct plumb_whiten *a, enum plumb_dtype round);

PLUMB_END_C
