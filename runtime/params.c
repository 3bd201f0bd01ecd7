/* The list of a model's parameters in flat-buffer order, and the check of its config. */
#include <math.h>
#include <plumb/model.h>

#define OUTSIDE 6 /* parameters outside the layers at most: embedding, position, final norm, head */
#define ALIGN 32  /* elements between offsets */
#define MOST_ELEMENTS (INT64_C(1) << 46)
#define MOST_LAYERS 10000

static int wrong(const char *field, double value, const char *reason)
{
    return plumb_fail(PLUMB_EINVAL, "model config: %s=%.17g %s", field, value, reason);
}

static int check_sizes(const struct plumb_model_config *c)
{
    const struct {
        const char *name;
        int64_t value, least, most;
    } sizes[] = {
        { "vocab", c->vocab, 1, INT32_MAX },
        { "width", c->width, 1, INT32_MAX },
        { "layers", c->layers, 1, MOST_LAYERS },
        { "heads", c->heads, 1, INT32_MAX },
        { "kv_heads", c->kv_heads, 1, c->heads },
        { "head_size", c->head_size, 1, INT32_MAX },
        { "ffn", c->ffn, 1, INT32_MAX },
        { "max_positions", c->max_positions, 1, INT32_MAX },
        { "window", c->window, 0, INT32_MAX },
        { "window_layers", c->window_layers, 0, c->layers },
        { "num_labels", c->num_labels, 0, INT32_MAX },
        { "norm", c->norm, PLUMB_NORM_RMS, PLUMB_NORM_LAYER },
        { "act", c->act, PLUMB_ACT_SWIGLU, PLUMB_ACT_GELU_ERF },
        { "rope", c->rope, PLUMB_ROPE_NONE, PLUMB_ROPE_INTERLEAVED },
        { "rope_scaling", c->rope_scaling, PLUMB_ROPE_DEFAULT, PLUMB_ROPE_LLAMA3 },
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].value < sizes[i].least || sizes[i].value > sizes[i].most)
            return plumb_fail(PLUMB_EINVAL, "model config: %s=%lld lies outside [%lld, %lld]",
                              sizes[i].name, (long long)sizes[i].value, (long long)sizes[i].least,
                              (long long)sizes[i].most);
    if (c->heads % c->kv_heads != 0)
        return plumb_fail(PLUMB_EINVAL, "model config: kv_heads=%lld does not divide heads=%lld",
                          (long long)c->kv_heads, (long long)c->heads);
    if (c->heads + 2 * c->kv_heads > INT32_MAX / c->head_size)
        return plumb_fail(PLUMB_EINVAL, "model config: heads=%lld of head_size=%lld are too wide",
                          (long long)c->heads, (long long)c->head_size);
    if (c->window_layers > 0 && c->window == 0)
        return wrong("window", 0, "with window_layers above 0");
    return PLUMB_OK;
}

static int check_numbers(const struct plumb_model_config *c)
{
    if (!(c->norm_eps >= 0) || isinf(c->norm_eps))
        return wrong("norm_eps", c->norm_eps, "is not >= 0");
    if (!isfinite(c->norm_offset)) return wrong("norm_offset", c->norm_offset, "is not finite");
    const struct {
        const char *name;
        double value;
    } scales[] = { { "embed_scale", c->embed_scale },
                   { "attention_scale", c->attention_scale },
                   { "logit_scale", c->logit_scale } },
      caps[] = { { "attention_softcap", c->attention_softcap },
                 { "final_softcap", c->final_softcap } };
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++)
        if (!(scales[i].value > 0) || isinf(scales[i].value))
            return wrong(scales[i].name, scales[i].value, "is not above 0");
    for (size_t i = 0; i < sizeof caps / sizeof *caps; i++)
        if (!(caps[i].value >= 0) || isinf(caps[i].value))
            return wrong(caps[i].name, caps[i].value, "is not >= 0");
    return PLUMB_OK;
}

static int check_rope(const struct plumb_model_config *c)
{
    if (c->rope == PLUMB_ROPE_NONE) return PLUMB_OK;
    if (c->rope_dims < 2 || c->rope_dims % 2 != 0 || c->rope_dims > c->head_size)
        return plumb_fail(PLUMB_EINVAL,
                          "model config: rope_dims=%lld wants to be even, from 2 to head_size=%lld",
                          (long long)c->rope_dims, (long long)c->head_size);
    if (!(c->rope_theta > 0) || isinf(c->rope_theta))
        return wrong("rope_theta", c->rope_theta, "is not above 0");
    if (c->rope_scaling == PLUMB_ROPE_DEFAULT) return PLUMB_OK;
    if (!(c->rope_factor > 0) || isinf(c->rope_factor))
        return wrong("rope_factor", c->rope_factor, "is not above 0");
    if (c->rope_scaling == PLUMB_ROPE_LINEAR) return PLUMB_OK;
    if (!(c->rope_low_freq_factor > 0) || isinf(c->rope_low_freq_factor))
        return wrong("rope_low_freq_factor", c->rope_low_freq_factor, "is not above 0");
    if (!(c->rope_high_freq_factor > c->rope_low_freq_factor) || isinf(c->rope_high_freq_factor))
        return wrong("rope_high_freq_factor", c->rope_high_freq_factor,
                     "is not above rope_low_freq_factor");
    if (c->rope_original_positions < 1)
        return wrong("rope_original_positions", (double)c->rope_original_positions, "is below 1");
    return PLUMB_OK;
}

struct shape {
    bool present, decay;
    int64_t rows, cols;
};

static struct shape vector(bool present, int64_t n)
{
    return (struct shape){ present, false, 1, n };
}

static struct shape matrix(bool present, int64_t rows, int64_t cols)
{
    return (struct shape){ present, true, rows, cols };
}

static bool gated(enum plumb_act_kind act)
{
    return act == PLUMB_ACT_SWIGLU || act == PLUMB_ACT_GEGLU_TANH || act == PLUMB_ACT_GEGLU_ERF;
}

/* What the config makes of each role; a bias of a norm comes with LayerNorm. */
static struct shape shape_of(const struct plumb_model_config *c, enum plumb_role role)
{
    const int64_t D = c->width, K = c->head_size, F = c->ffn;
    const int64_t qkv = (c->heads + 2 * c->kv_heads) * K, up = gated(c->act) ? 2 * F : F;
    const bool layer_norm = c->norm == PLUMB_NORM_LAYER, lm = c->num_labels == 0;
    switch (role) {
    case PLUMB_ROLE_EMBED: return matrix(true, c->vocab, D);
    case PLUMB_ROLE_POSITION: return matrix(c->learned_positions, c->max_positions, D);
    case PLUMB_ROLE_NORM1:
    case PLUMB_ROLE_NORM2:
    case PLUMB_ROLE_NORMF: return vector(true, D);
    case PLUMB_ROLE_NORM1_BIAS:
    case PLUMB_ROLE_NORM2_BIAS:
    case PLUMB_ROLE_NORMF_BIAS: return vector(layer_norm, D);
    case PLUMB_ROLE_QKV: return matrix(true, qkv, D);
    case PLUMB_ROLE_QKV_BIAS: return vector(c->qkv_bias, qkv);
    case PLUMB_ROLE_QNORM:
    case PLUMB_ROLE_KNORM: return vector(c->qk_norm, K);
    case PLUMB_ROLE_O: return matrix(true, D, c->heads * K);
    case PLUMB_ROLE_O_BIAS: return vector(c->o_bias, D);
    case PLUMB_ROLE_UP: return matrix(true, up, D);
    case PLUMB_ROLE_UP_BIAS: return vector(c->mlp_bias, up);
    case PLUMB_ROLE_DOWN: return matrix(true, D, F);
    case PLUMB_ROLE_DOWN_BIAS: return vector(c->mlp_bias, D);
    case PLUMB_ROLE_HEAD: return matrix(lm && !c->tied, c->vocab, D);
    case PLUMB_ROLE_HEAD_BIAS: return vector(lm && c->lm_head_bias, c->vocab);
    case PLUMB_ROLE_SCORE: return matrix(!lm, c->num_labels, D);
    case PLUMB_ROLES: break;
    }
    return (struct shape){ 0 };
}

struct list {
    const struct plumb_model_config *config;
    struct plumb_param *out;
    int64_t capacity, count, elements;
};

/* Appends the roles [first, last]: those that decay, then the others, so that a layer is two ranges
 * to the optimizer. */
static int append(struct list *l, enum plumb_role first, enum plumb_role last, int32_t layer)
{
    for (int pass = 0; pass < 2; pass++)
        for (int role = first; role <= (int)last; role++) {
            const struct shape s = shape_of(l->config, (enum plumb_role)role);
            if (!s.present || s.decay != (pass == 0)) continue;
            if (l->count == l->capacity)
                return plumb_fail(PLUMB_EINVAL, "model parameters: room for %lld is too little",
                                  (long long)l->capacity);
            l->out[l->count++] = (struct plumb_param){ .role = (enum plumb_role)role,
                                                       .layer = layer,
                                                       .rows = s.rows,
                                                       .cols = s.cols,
                                                       .offset = l->elements,
                                                       .decay = s.decay };
            /* Sides are below 2^32, so the product fits; the sum is kept far from the end. */
            const int64_t n = s.rows * s.cols;
            if (n > MOST_ELEMENTS - l->elements)
                return plumb_fail(PLUMB_EINVAL, "model config: more than 2^46 parameters");
            l->elements += (n + ALIGN - 1) / ALIGN * ALIGN;
        }
    return PLUMB_OK;
}

int64_t plumb_model_param_capacity(const struct plumb_model_config *c)
{
    const int64_t layers = c->layers < 0 ? 0 : c->layers > MOST_LAYERS ? MOST_LAYERS : c->layers;
    return layers * PLUMB_PARAMS_PER_LAYER + OUTSIDE;
}

int plumb_model_params(const struct plumb_model_config *c, struct plumb_param *out,
                       int64_t capacity, int64_t *count, int64_t *elements)
{
    PLUMB_TRY(check_sizes(c));
    PLUMB_TRY(check_numbers(c));
    PLUMB_TRY(check_rope(c));
    struct list l = { .config = c, .out = out, .capacity = capacity };
    PLUMB_TRY(append(&l, PLUMB_ROLE_EMBED, PLUMB_ROLE_POSITION, -1));
    for (int32_t i = 0; i < c->layers; i++)
        PLUMB_TRY(append(&l, PLUMB_ROLE_NORM1, PLUMB_ROLE_DOWN_BIAS, i));
    PLUMB_TRY(append(&l, PLUMB_ROLE_NORMF, PLUMB_ROLE_NORMF_BIAS, -1));
    PLUMB_TRY(append(&l, PLUMB_ROLE_HEAD, PLUMB_ROLE_SCORE, -1));
    *count = l.count;
    *elements = l.elements;
    return PLUMB_OK;
}
const char *plumb_role_name(enum plumb_role role)
{
    static const char *const names[PLUMB_ROLES] = {
        [PLUMB_ROLE_EMBED] = "the embedding",
        [PLUMB_ROLE_POSITION] = "the position embedding",
        [PLUMB_ROLE_NORM1] = "the attention norm",
        [PLUMB_ROLE_NORM1_BIAS] = "the attention norm's bias",
        [PLUMB_ROLE_QKV] = "the q/k/v projection",
        [PLUMB_ROLE_QKV_BIAS] = "the q/k/v projection's bias",
        [PLUMB_ROLE_QNORM] = "the q norm",
        [PLUMB_ROLE_KNORM] = "the k norm",
        [PLUMB_ROLE_O] = "the output projection",
        [PLUMB_ROLE_O_BIAS] = "the output projection's bias",
        [PLUMB_ROLE_NORM2] = "the MLP norm",
        [PLUMB_ROLE_NORM2_BIAS] = "the MLP norm's bias",
        [PLUMB_ROLE_UP] = "the gate/up projection",
        [PLUMB_ROLE_UP_BIAS] = "the gate/up projection's bias",
        [PLUMB_ROLE_DOWN] = "the down projection",
        [PLUMB_ROLE_DOWN_BIAS] = "the down projection's bias",
        [PLUMB_ROLE_NORMF] = "the final norm",
        [PLUMB_ROLE_NORMF_BIAS] = "the final norm's bias",
        [PLUMB_ROLE_HEAD] = "the LM head",
        [PLUMB_ROLE_HEAD_BIAS] = "the LM head's bias",
        [PLUMB_ROLE_SCORE] = "the score head",
    };
    return (unsigned)role < PLUMB_ROLES ? names[role] : "an unknown parameter";
}
