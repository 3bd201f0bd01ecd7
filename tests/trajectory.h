/* Replaying one recorded training run. */
#pragma once
#include <cJSON.h>
#include <plumb/base.h>

#include "algos/trainer.h"
#include "io/hf_model.h"

/* A trajectory file while it is replayed. */
struct plumb_trajectory {
    const char *name;
    cJSON *json;
    bool ref;
    struct plumb_hf_model hf;
    struct plumb_dataset data;
    struct plumb_example *examples;
    struct plumb_train_config train;
    double *before; /* master weights before the step */
    int64_t micro;  /* batches seen */
    struct quantity {
        char name[40];
        double worst_abs, worst_ratio; /* largest |x - f64|; in units of the recorded distance */
        bool beyond;
        int64_t compared;
    } quantity[64];
    int quantities;
};

/* Replays DIR/name; prints a line per quantity. Fails with PLUMB_ENOTSUP on an algorithm that is
 * not built, with PLUMB_ENUM on a deviation. */
int plumb_trajectory_replay(const char *dir, const char *name, bool ref);
/* Notes one value against the f64 run; `distance` is the recorded f32-f64 distance of the
 * quantity. */
void plumb_trajectory_compare(struct plumb_trajectory *g, const char *quantity, double value,
                              double f64, double distance);
/* Parts of a replay: options and data of g->json. */
int plumb_trajectory_options(struct plumb_trajectory *g);
double plumb_trajectory_option(const struct plumb_trajectory *g, const char *key, double fallback);
int plumb_trajectory_data(struct plumb_trajectory *g);
