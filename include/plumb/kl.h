/* Estimates of the divergence from a reference on sampled tokens: KL(policy || reference) from one
 * log-prob each, as a loss term with its gradient. Formulas: kl.def; d = logp - ref_logp. On the
 * policy's own samples k1 and k3 have KL(policy || reference) as their mean, k2 has its gradient;
 * the gradient of k1 as a loss is 0 in the mean, that of k3 is KL(reference || policy)'s. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

/* Ids are fixed: a new formula takes the next number, none is reused. */
enum plumb_kl_estimator {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_KL_##NAME = ID,
#include <plumb/kl.def>
#undef PLUMB_FORMULA
};

struct plumb_kl {
    size_t struct_bytes;
    enum plumb_kl_estimator estimator;
    int64_t M;                    /* tokens */
    struct plumb_tensor logp;     /* (M) in, f32 nats: policy */
    struct plumb_tensor ref_logp; /* (M) in, f32 nats: reference */
    struct plumb_tensor old_logp; /* (M) in, f32 nats: policy that sampled; absent = logp itself
                                   * (ratio 1). Read by k3_importance_weighted alone */
    struct plumb_tensor weight;   /* (M) in, f32, times value and gradient; absent = 1 */
    double clamp;                 /* values end at +-clamp, beyond it the gradient is 0; 0 = none
                                   * (OpenRLHF: 10) */
    double divisor;               /* loss = sum of kl / divisor, gradients alike; > 0 */
    struct plumb_tensor kl;       /* (M) out, f32 nats: weighted, not divided */
    struct plumb_tensor dlogp;    /* (M) out, f32: d loss / d logp; absent = evaluation */
};
/* Elementwise. Finite for all finite inputs (saturates); small d keep their digits. Values agree
 * with golden/losses/kl. Fails: PLUMB_EINVAL naming the argument. */
int plumb_kl(const struct plumb_device *dev, const struct plumb_kl *a);
void plumb_kl_ref(const struct plumb_kl *a, enum plumb_dtype round);
/* An estimator's name to its id, or -1; id to name, or NULL. */
int plumb_kl_find(const char *name);
const char *plumb_kl_name(int id);

PLUMB_END_C
