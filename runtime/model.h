/* A decoder on a device: parameters in flat buffers, forward and explicit backward on a batch. */
#pragma once
#include <plumb/adapter.h>
#include <plumb/arena.h>
#include <plumb/batch.h>
#include <plumb/model.h>
#include <plumb/packed.h>

/* Storage types by what is stored. --dtype float32: all f32. --bf16: compute bf16, the rest f32.
 * ref: all f64. */
struct plumb_storage {
    enum plumb_dtype compute; /* weights as the GEMMs read them, activations */
    enum plumb_dtype resid;   /* residual stream and its gradient */
    enum plumb_dtype
        master; /* weights as the optimizer sees them, gradients, moments, statistics */
};
struct plumb_storage plumb_storage_of(const struct plumb_device *dev, enum plumb_dtype compute);

/* A list of parameters and their flat buffers. */
struct plumb_flat {
    const struct plumb_param *params;
    int64_t param_count, elements; /* elements of a buffer, padding included */
    struct plumb_tensor weights, master, grad; /* as in plumb_model */
};

/* What is trained in place of a frozen model's weights; rank 0 = the weights are. */
struct plumb_adapters {
    struct plumb_lora lora; /* its arrays lie in the run arena */
    struct plumb_flat flat;
    int64_t widest, stacked; /* columns; rank times adapters on one matrix, at most */
    uint64_t seed;           /* of dropout, with the number of the optimizer step */
    int64_t step;
};

struct plumb_model {
    struct plumb_model_config config;
    struct plumb_device dev;
    struct plumb_storage prec;
    const struct plumb_param *params;
    int64_t param_count, elements; /* elements of a flat buffer, padding included */
    struct plumb_tensor weights;   /* (elements) compute dtype */
    struct plumb_tensor
        /* (elements); the same storage as weights when the dtypes agree; absent when frozen bf16 */
        master;
    struct plumb_tensor grad;               /* (elements); absent when frozen */
    int64_t rope_rows;                      /* longest path, tokens */
    struct plumb_tensor rope_cos, rope_sin; /* (rope_rows, rope_dims/2) */
    bool recompute;       /* keep only each layer's input, run the layer again in backward */
    bool batch_invariant; /* forward products whose rows do not depend on the batch */
    struct plumb_adapters adapters; /* runtime/adapters.h */
    struct plumb_packed packed;     /* runtime/packed.h; its list lies in the run arena */
    void *blocks;                   /* (packed.bytes) */
    struct plumb_tensor expanded;   /* the largest packed matrix, compute dtype */
};

/* TRAINED keeps a master copy where the compute dtype is narrower; TRAINED_NARROW updates the
 * compute dtype itself, with stochastic rounding. */
enum plumb_model_kind { PLUMB_MODEL_TRAINED, PLUMB_MODEL_TRAINED_NARROW, PLUMB_MODEL_FROZEN };
/* Lays the model out in `run`. Weights are undefined until filled through plumb_model_fill.
 * Works on a counting arena. */
int plumb_model_init(struct plumb_model *m, const struct plumb_model_config *config,
                     const struct plumb_device *dev, enum plumb_dtype compute,
                     enum plumb_model_kind kind, int64_t max_path, struct plumb_arena *run);
/* The same of kind FROZEN, with the matrices of k in blocks, which the caller fills (m->blocks).
 * Such a matrix has no place in the flat buffer: its offset is -1. On cpu and ref alone. */
int plumb_model_init_packed(struct plumb_model *m, const struct plumb_model_config *config,
                            const struct plumb_packed *k, const struct plumb_device *dev,
                            enum plumb_dtype compute, int64_t max_path, struct plumb_arena *run);
/* Writes `flat` (elements values of dtype `from`, host memory) into weights and master, rounding
 * as needed. */
int plumb_model_fill(struct plumb_model *m, const void *flat, enum plumb_dtype from);
/* A frozen model gets the weights of another of the same shape and compute dtype. */
int plumb_model_copy(struct plumb_model *m, const struct plumb_model *from);
/* The most exact weights there are: the master where it exists. Adapters aside. */
struct plumb_tensor plumb_model_exact(const struct plumb_model *m);
/* weights = master rounded to the compute dtype, adapters' too; nothing to do when they share
 * storage. */
int plumb_model_refresh(struct plumb_model *m);
/* What the optimizer moves: the model's own buffers, or its adapters'. */
struct plumb_flat plumb_model_trained(const struct plumb_model *m);
struct plumb_tensor plumb_flat_exact(const struct plumb_flat *f);
/* Writes "<parameter> (layer <n>) is not finite at element <i>" of an element of what is trained;
 * returns text. */
const char *plumb_model_owner(const struct plumb_model *m, int64_t element, char *text, size_t n);
/* Random weights: matrices normal(0, std), projections into the residual stream std / sqrt(2
 * layers), norms 1, biases 0. */
int plumb_model_random(struct plumb_model *m, uint64_t seed, double std,
                       struct plumb_arena *scratch);
int plumb_model_zero_grad(struct plumb_model *m);
/* The parameter with this role, or NULL. layer -1 outside the layers. */
const struct plumb_param *plumb_model_find(const struct plumb_model *m, enum plumb_role role,
                                           int32_t layer);
/* The part of flat buffer `flat` that holds p; absent when p is NULL or packed, or flat is
 * absent. */
struct plumb_tensor plumb_model_slice(struct plumb_tensor flat, const struct plumb_param *p);
/* p as the passes read it (with adapters: its trained copy where it is trained whole), its
 * gradient, absent where it has none, and its most exact values. */
struct plumb_tensor plumb_model_weight(const struct plumb_model *m, const struct plumb_param *p);
struct plumb_tensor plumb_model_grad(const struct plumb_model *m, const struct plumb_param *p);
struct plumb_tensor plumb_model_exact_weight(const struct plumb_model *m,
                                             const struct plumb_param *p);

/* t from its element `element` on; absent stays absent. */
struct plumb_tensor plumb_tensor_at(struct plumb_tensor t, int64_t element);

/* What one layer keeps between forward and backward. Absent entries do not exist in this
 * architecture. */
struct plumb_layer_acts {
    struct plumb_tensor r, rstd1, mean1; /* input (N,D) resid; (N) master dtype */
    struct plumb_tensor qkv;             /* (N,QKV): rotated, or as projected with q/k norm */
    struct plumb_tensor qk, rstd_q,
        rstd_k;                 /* with q/k norm: (N,(Hq+Hkv)K) normalised and rotated */
    struct plumb_tensor o, lse; /* (N,Hq K); (N,Hq) */
    struct plumb_tensor r2, rstd2,
        mean2;              /* after attention (N,D); alias of r with parallel residual */
    struct plumb_tensor up; /* (N,2F) or (N,F) before the activation */
};

struct plumb_kvcache; /* runtime/kvcache.h */

/* Activations of one batch, in the step arena. */
struct plumb_acts {
    const struct plumb_kvcache
        *cache; /* generation: the batch continues texts that it holds */
    int64_t N;
    bool backward;                  /* kept for backward */
    struct plumb_layer_acts *layer; /* (layers), or one shared by all when nothing is kept */
    struct plumb_layer_acts again;  /* recomputation: where the layer is run a second time */
    struct plumb_tensor r_final, rstdf, meanf,
        hidden;                        /* (N,D) resid; (N); (N,D) compute: what the head reads */
    struct plumb_tensor y, delta, act; /* scratch: (N,D) compute, (N,D) compute, (N,F) compute */
    struct plumb_tensor dhidden;       /* (N,D) resid: the head's gradient, in for backward */
    struct plumb_tensor g, gc, dy, dqkv, dqk, dup, dact, d_o; /* backward scratch */
    struct plumb_tensor low, dlow, masked; /* adapters: (N, stacked) twice, (N, widest); compute */
    struct plumb_tensor work;                                 /* of attention, norms, column sums */
    size_t work_bytes;
};

/* Storage for up to N tokens that attend to up to `keys` rows (N, or what a cache holds). Works
 * on a counting arena. */
int plumb_acts_init(struct plumb_acts *a, const struct plumb_model *m, int64_t N, int64_t keys,
                    bool backward, struct plumb_arena *step);
/* Runs the decoder: fills a->hidden for batch->N <= a->N tokens. */
int plumb_model_forward(const struct plumb_model *m, const struct plumb_batch *batch,
                        struct plumb_acts *a);
/* From a->dhidden: adds every parameter's gradient but the head's. Same batch as the forward. */
int plumb_model_backward(const struct plumb_model *m, const struct plumb_batch *batch,
                         struct plumb_acts *a);

/* The LM head (tied or not) and its bias, NULL without. */
const struct plumb_param *plumb_model_head(const struct plumb_model *m);
const struct plumb_param *plumb_model_head_bias(const struct plumb_model *m);
