/* Looks on while the demo's stages train: prints a few lines, tries the model out on held-out
 * orders, and joins the metrics of both stages in one file. */
#pragma once
#include "tools/demo_trial.h"
#include "tools/session.h"

struct plumb_demo_watch {
    struct plumb_demo_trial *trial;
    struct plumb_metrics metrics; /* of both stages, steps counted through */
    bool quiet;
    int64_t every, prompts; /* try out after so many steps, on so many orders */
    /* DPO: share of held-out pairs of which the good answer is the more probable one; accuracy is
     * that of TRL's rewards, which compare with the reference model. */
    double preferred_before, preferred_after, accuracy;
    /* of the running stage */
    struct plumb_session *session;
    struct plumb_sink inner;
    int64_t shift, tokens; /* steps and tokens of the stages before */
    struct plumb_dataset plain;
    double loss, token_accuracy, margin;
};

double plumb_demo_clock(void); /* seconds */
/* The watch of a stage; `w` must outlive it. */
struct plumb_session_watch plumb_demo_watch_sft(struct plumb_demo_watch *w);
struct plumb_session_watch plumb_demo_watch_dpo(struct plumb_demo_watch *w);
