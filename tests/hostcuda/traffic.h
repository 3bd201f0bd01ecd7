/* How much memory traffic ops and kernels may have in the counting run. The rule for all: at most
 * 1.05 times the least bytes (what all rows share counted once), at least 98 % of the moved bytes
 * used, no bank conflicts. The least bytes of an op are its table's, those of a kernel the sectors
 * that it touches, each once. What misses the rule stands here with its reason. */
#pragma once
#include <math.h>
#include <stddef.h>
#include <string.h>

struct traffic_limit {
    const char *name;          /* of an op, "_bwd" behind it for backward; of a kernel */
    double rows, used, shared; /* at most, at least (percent), at most */
    const char *why;           /* NULL: the rule */
};

static inline const struct traffic_limit *traffic_limit_of(const char *name)
{
    static const struct traffic_limit rule = { NULL, 1.05, 98, 1.0, NULL };
    static const struct traffic_limit exceptions[] = {
        { "logprob", INFINITY, 98, 1.0, "logits of a chunk go through memory" },
        { "logprob_bwd", INFINITY, 98, 1.0, "logits of a chunk go through memory" },
        { "logprob_fused", INFINITY, 98, 1.0, "logits of a chunk go through memory" },
        { "distill", INFINITY, 98, 1.0, "logits of a chunk go through memory" },
        { "matmul", 1.05, 98, 1.01, "lanes of long loops are not always matched" },
        { "matmul_rows_f32", 1.05, 98, 1.01, "lanes of long loops are not always matched" },
        { "embed_bwd", 1.05, 98, 2.0, "the sort of the ids: digits come as they come" },
        { "select", 3.1, 96, 1.1, "the keys are read once a digit; digits come as they come" },
        { "select_count", 1.05, 94, 1.1, "digits come as they come" },
        { "covariance", 1.7, 98, 1.0, "means first, then what they are taken from" },
        { "attention", INFINITY, 90, 1.0, "each block reads the tiles of its path" },
        { "attention_bwd", INFINITY, 90, 1.0, "each block reads the tiles of its path" },
        { "attention_decode", INFINITY, 90, 1.0, "each block reads the tiles of its path" },
        { "attn_fwd", INFINITY, 90, 1.0, "each block reads the tiles of its path" },
        { "attn_dq", INFINITY, 90, 1.0, "each block reads the tiles of its path" },
        { "attn_dkv", INFINITY, 90, 1.0, "each block reads the tiles of its path" },
        { "dropout", 1.05, 90, 1.0, "8 bytes of its place beside each 128 of a row" },
        { "dropout_quads", 1.05, 90, 1.0, "8 bytes of its place beside each 128 of a row" },
        { "sample", 1.05, 98, 1.05, "a thread's two sums lie side by side" },
        { "sample_rows", 1.05, 98, 1.05, "a thread's two sums lie side by side" },
        { "place", 1.05, 96, 1.0, "4 bytes of its place beside a row" },
        { "place_rows", 1.05, 96, 1.0, "4 bytes of its place beside a row" },
        { "token_weight", 1.05, 96, 1.0, "4 bytes a token beside the ends of sequences" },
        { "token_weight_fill", 1.05, 96, 1.0, "4 bytes a token beside the ends of sequences" },
        { "token_weight_draw", 1.05, 96, 1.0, "4 bytes a token beside the ends of sequences" },
    };
    for (size_t i = 0; i < sizeof exceptions / sizeof *exceptions; i++)
        if (!strcmp(exceptions[i].name, name)) return &exceptions[i];
    return &rule;
}
