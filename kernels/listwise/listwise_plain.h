/* A list in plain f32: the oracle's yardstick. */
#pragma once
#include <stdint.h>

struct plumb_list_plain {
    int64_t K, top_k;
    const double *score, *label;
    double label_temperature, margin, lambda, sft_weight;
    const int32_t *mask;
    float *room; /* 3 K */
    int32_t *place, *rank;
    double *share; /* K struct plumb_list_share */
    double *rows;  /* a struct plumb_list_rows */
};

void plumb_list_plain(int id, const struct plumb_list_plain *p);
