/* Angles of rotary positions, with the scalings of the config. */
#pragma once
#include <plumb/model.h>

/* cos and sin (max_path, rope_dims/2), f32 or f64, of position * frequency; computed in f64,
 * rounded once. */
void plumb_rope_table(const struct plumb_model_config *c, int64_t max_path, struct plumb_tensor cos,
                      struct plumb_tensor sin);
