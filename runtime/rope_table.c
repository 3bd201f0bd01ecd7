/* Rotary frequencies: default, linear (arXiv:2306.15595) and llama3 (the Llama 3.1 release's
 * wavelength blend). */
#include "runtime/rope_table.h"

#include <math.h>

static double frequency(const struct plumb_model_config *c, int64_t i)
{
    const double base = pow(c->rope_theta, -2.0 * (double)i / (double)c->rope_dims);
    if (c->rope_scaling == PLUMB_ROPE_DEFAULT) return base;
    if (c->rope_scaling == PLUMB_ROPE_LINEAR) return base / c->rope_factor;
    const double pi = 3.14159265358979323846, original = (double)c->rope_original_positions;
    const double wavelength = 2 * pi / base;
    if (wavelength < original / c->rope_high_freq_factor) return base;
    if (wavelength > original / c->rope_low_freq_factor) return base / c->rope_factor;
    const double blend = (original / wavelength - c->rope_low_freq_factor) /
                         (c->rope_high_freq_factor - c->rope_low_freq_factor);
    return (1 - blend) * base / c->rope_factor + blend * base;
}

static void put(struct plumb_tensor t, int64_t i, double v)
{
    if (t.dtype == PLUMB_F64)
        ((double *)t.data)[i] = v;
    else
        ((float *)t.data)[i] = (float)v;
}

void plumb_rope_table(const struct plumb_model_config *c, int64_t max_path,
                      struct plumb_tensor cos_table, struct plumb_tensor sin_table)
{
    const int64_t half = c->rope_dims / 2;
    for (int64_t i = 0; i < half; i++) {
        const double f = frequency(c, i);
        for (int64_t p = 0; p < max_path; p++) {
            put(cos_table, p * half + i, cos((double)p * f));
            put(sin_table, p * half + i, sin((double)p * f));
        }
    }
}
