/* What the oracle's scratch holds for each token of a row. */
#pragma once
#include <stdint.h>

struct plumb_sample_candidate {
    double z, p; /* adjusted logit; e^(z - largest) */
    int64_t id;
};
