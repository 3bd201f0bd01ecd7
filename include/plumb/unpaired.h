/* Losses of single completions with a label. Formulas: unpaired.def. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

enum plumb_unpaired_loss {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_UNPAIRED_##NAME = ID,
#include <plumb/unpaired.def>
#undef PLUMB_FORMULA
};

struct plumb_unpaired {
    size_t struct_bytes;
    enum plumb_unpaired_loss loss;
    int64_t B;                   /* sequences */
    const int32_t *offset;       /* (B+1) token runs */
    const int32_t *label;        /* (B) 1 desirable or correct, 0 not; NULL where no formula asks */
    struct plumb_tensor logp;    /* (offset[B]) in, f32: policy, per token */
    struct plumb_tensor ref_logp, ref_sum; /* as in plumb_pairwise */
    struct plumb_tensor kl;      /* (1) in, f32: the reference point z0, no gradient; absent = 0 */
    double beta, desirable_weight, undesirable_weight, divisor;
    struct plumb_tensor losses;  /* (B) out, f32, weighted, not divided */
    struct plumb_tensor logps, rewards; /* (B) out, f32 */
    struct plumb_tensor dlogp;   /* (offset[B]) out, f32; absent = evaluation */
    /* Read by the formulas that name them (kernels/unpaired/<name>.h); absent = 0, but for weight,
     * whose absence is 1. */
    struct plumb_tensor shift;   /* (1) in, f32: BCO's delta, a reward, no gradient */
    struct plumb_tensor target;  /* (B) in, f32: reward, advantage or share of correct answers; each
                                  * formula says which */
    struct plumb_tensor value;   /* (B) in, f32: what the target is expected to be */
    struct plumb_tensor weight;  /* (B) in, f32: of each sequence, times its loss and gradients */
    double lambda, clip;         /* at least 0 */
    double clamp_negative;       /* nft: above 0 */
    double normalize;            /* nft: 0, 1 or 2 */
    struct plumb_tensor dvalue;  /* (B) out, f32: d loss / d value; absent = not wanted */
};
int plumb_unpaired(const struct plumb_device *dev, const struct plumb_unpaired *a);
void plumb_unpaired_ref(const struct plumb_unpaired *a, enum plumb_dtype round);
/* As plumb_pairwise_part, of whole sequences. */
int plumb_unpaired_part(const struct plumb_unpaired *a, const int32_t *offset, int64_t first,
                        int64_t count, struct plumb_unpaired *out);
int plumb_unpaired_find(const char *name);
const char *plumb_unpaired_name(int id);

/* KTO's reference point (arXiv:2402.01306 eq. 7, TRL): kl = max(0, mean over sequences of
 * sum(logp) - ref). */
struct plumb_kto_kl {
    size_t struct_bytes;
    int64_t B;
    const int32_t *offset;       /* (B+1) */
    struct plumb_tensor logp, ref_logp, ref_sum;
    struct plumb_tensor kl;      /* (1) out, f32 */
};
int plumb_kto_kl(const struct plumb_device *dev, const struct plumb_kto_kl *a);
void plumb_kto_kl_ref(const struct plumb_kto_kl *a, enum plumb_dtype round);

/* BCO's delta (arXiv:2404.04656; TRL's BCOTrainer): the mean of the rewards beta (sum(logp) - ref)
 * of all completions ever seen, these included. A state is three f64 in the device's memory: how
 * many, their mean and the sum of squares about it; zeros before the first. */
struct plumb_bco_delta {
    size_t struct_bytes;
    int64_t B;
    const int32_t *offset;       /* (B+1) */
    struct plumb_tensor logp, ref_logp, ref_sum;
    double beta;
    const double *before;        /* (3) in: the state */
    double *after;               /* (3) out: the new state; may be `before` */
    struct plumb_tensor delta;   /* (1) out, f32: its mean; what plumb_unpaired takes as shift */
    struct plumb_tensor variance;/* (1) out, f32: of all rewards; absent = not wanted */
};
int plumb_bco_delta(const struct plumb_device *dev, const struct plumb_bco_delta *a);
void plumb_bco_delta_ref(const struct plumb_bco_delta *a, enum plumb_dtype round);

PLUMB_END_C
