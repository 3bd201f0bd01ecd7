/* How a head bends its products: z = cap(logit_scale * u) / temperature, and dz/du. */
#pragma once
#include <plumb/base.h>

struct plumb_logit_shape {
    bool capped;
    float in, out;     /* capped: z = out * tanh(u * in); else z = u * in */
    float slope, back; /* dz/du = slope, times 1 - (z * back)^2 where capped */
};

static inline struct plumb_logit_shape plumb_logit_shape(double scale, double softcap,
                                                         double temperature)
{
    const double s = scale / temperature;
    struct plumb_logit_shape f = { false, (float)s, 0, (float)s, 0 };
    if (!(softcap > 0)) return f;
    f.capped = true;
    f.in = (float)(scale / softcap), f.out = (float)(softcap / temperature);
    f.back = (float)(temperature / softcap);
    return f;
}
