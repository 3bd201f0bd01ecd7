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
    const int32_t *label;        /* (B) 1 desirable, 0 undesirable */
    struct plumb_tensor logp;    /* (offset[B]) in, f32: policy, per token */
    struct plumb_tensor ref_logp, ref_sum; /* as in plumb_pairwise */
    struct plumb_tensor kl;      /* (1) in, f32: the reference point z0, no gradient; absent = 0 */
    double beta, desirable_weight, undesirable_weight, divisor;
    struct plumb_tensor losses;  /* (B) out, f32, weighted, not divided */
    struct plumb_tensor logps, rewards; /* (B) out, f32 */
    struct plumb_tensor dlogp;   /* (offset[B]) out, f32; absent = evaluation */
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

PLUMB_END_C
