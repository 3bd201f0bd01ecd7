/* The world of `plumb demo`: a cafe where a guest orders and the waiter answers. An answer is good
 * when a program can verify it: it is polite, speaks to the right guest, and names the things
 * ordered, all of them, no others, in the order asked.
 *
 *   Guest Mia: soup, bread and tea, please.
 *   Waiter: Gladly, Mia: soup, bread and tea. Thank you! */
#pragma once
#include <plumb/rng.h>

#define PLUMB_DEMO_THINGS 5 /* most things of an order; 2 are the least */
#define PLUMB_DEMO_TEXT 160 /* bytes for a prompt or an answer, NUL included */

struct plumb_demo_order {
    int guest;
    bool please;                             /* the guest says it */
    int count, thing[PLUMB_DEMO_THINGS + 1]; /* a bad answer may name one too many */
};

/* What is wrong with an answer; the first that applies. */
enum plumb_demo_verdict {
    PLUMB_DEMO_GOOD,
    PLUMB_DEMO_UNREADABLE, /* no sentence of the world, or not finished */
    PLUMB_DEMO_WRONG_GUEST,
    PLUMB_DEMO_RUDE,
    PLUMB_DEMO_FORGETS, /* a thing that was ordered is missing */
    PLUMB_DEMO_ADDS,    /* a thing that was not ordered, or one too often */
    PLUMB_DEMO_MIXES,   /* the right things in another order */
    PLUMB_DEMO_VERDICTS
};
const char *plumb_demo_verdict_text(enum plumb_demo_verdict v); /* "good", "forgets a thing", ... */

/* Random numbers of one sample, in the order drawn. */
struct plumb_demo_dice {
    struct plumb_rng_key key;
    uint64_t at;
};
struct plumb_demo_dice plumb_demo_dice(uint64_t seed, uint64_t sample);
/* True with this probability. */
bool plumb_demo_chance(struct plumb_demo_dice *d, double probability);

/* An order. A fixed fifth of all orders is held out: no order is ever drawn with both values of
 * `held_out`. */
void plumb_demo_draw(struct plumb_demo_dice *d, bool held_out, struct plumb_demo_order *out);
/* "Guest Mia: soup and tea, please.\nWaiter:" */
void plumb_demo_prompt(const struct plumb_demo_order *o, char out[PLUMB_DEMO_TEXT]);
/* An answer with this verdict, PLUMB_DEMO_UNREADABLE excepted. */
void plumb_demo_answer(struct plumb_demo_dice *d, const struct plumb_demo_order *o,
                       enum plumb_demo_verdict v, char out[PLUMB_DEMO_TEXT]);

/* The verifier: reads both texts, knows nothing of how they were made. */
enum plumb_demo_verdict plumb_demo_judge(const char *prompt, const char *answer);
