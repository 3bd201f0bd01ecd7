/* Orders and answers of the demo's world. */
#include "tools/demo_world.h"

#include <stdio.h>
#include <string.h>

#include "tools/demo_words.h"

const char *const plumb_demo_guests[] = { "Mia", "Ben",  "Ada",  "Tom",  "Zoe",  "Max", "Eva",
                                          "Leo", "Nora", "Finn", "Iris", "Hugo", NULL };
const char *const plumb_demo_things[] = { "soup",  "bread", "tea",  "cake",  "rice", "juice",
                                          "beans", "eggs",  "milk", "salad", "fish", "pie",
                                          "water", "figs",  "corn", "plums", NULL };
const char *const plumb_demo_polite_openings[] = { "Gladly", "Certainly", "With pleasure",
                                                   "Of course", NULL };
const char *const plumb_demo_rude_openings[] = { "Wait", "Again", "What now", "Oh no", NULL };
const char *const plumb_demo_polite_closings[] = { "Thank you!", "Enjoy it!", "Coming soon!",
                                                   NULL };
const char *const plumb_demo_rude_closings[] = { "Hurry up!", "Pay now!", "Go away!", NULL };

const char *plumb_demo_verdict_text(enum plumb_demo_verdict v)
{
    static const char *const texts[PLUMB_DEMO_VERDICTS] = {
        [PLUMB_DEMO_GOOD] = "good",
        [PLUMB_DEMO_UNREADABLE] = "no whole answer",
        [PLUMB_DEMO_WRONG_GUEST] = "wrong guest",
        [PLUMB_DEMO_RUDE] = "rude",
        [PLUMB_DEMO_FORGETS] = "forgets a thing",
        [PLUMB_DEMO_ADDS] = "adds a thing",
        [PLUMB_DEMO_MIXES] = "mixes the order up",
    };
    return texts[v];
}

struct plumb_demo_dice plumb_demo_dice(uint64_t seed, uint64_t sample)
{
    return (struct plumb_demo_dice){ .key = { seed, PLUMB_RNG_DATA, sample } };
}

bool plumb_demo_chance(struct plumb_demo_dice *d, double probability)
{
    return plumb_rng_uniform(&d->key, d->at++) < probability;
}

static int below(struct plumb_demo_dice *d, int n)
{
    return (int)plumb_rng_below(&d->key, d->at++, (uint64_t)n);
}

static int length(const char *const *list)
{
    int n = 0;
    while (list[n])
        n++;
    return n;
}

static const char *pick(struct plumb_demo_dice *d, const char *const *list)
{
    return list[below(d, length(list))];
}

static bool contains(const struct plumb_demo_order *o, int thing)
{
    for (int i = 0; i < o->count; i++)
        if (o->thing[i] == thing) return true;
    return false;
}

/* Another thing than those of the order. */
static int new_thing(struct plumb_demo_dice *d, const struct plumb_demo_order *o)
{
    int thing;
    do
        thing = below(d, length(plumb_demo_things));
    while (contains(o, thing));
    return thing;
}

/* By guest and things alone (FNV-1a), so that "please" cannot bring a held-out order back. */
static bool is_held_out(const struct plumb_demo_order *o)
{
    uint64_t h = 14695981039346656037u;
    for (int i = -1; i < o->count; i++)
        h = (h ^ (uint64_t)(i < 0 ? o->guest : o->thing[i])) * 1099511628211u;
    return (h >> 32) % 5 == 0;
}

void plumb_demo_draw(struct plumb_demo_dice *d, bool held_out, struct plumb_demo_order *out)
{
    do {
        *out = (struct plumb_demo_order){ .guest = below(d, length(plumb_demo_guests)),
                                          .please = plumb_demo_chance(d, 0.65) };
        const int count = 2 + below(d, PLUMB_DEMO_THINGS - 1);
        while (out->count < count) {
            const int thing = new_thing(d, out);
            out->thing[out->count++] = thing;
        }
    } while (is_held_out(out) != held_out);
}

static size_t put(char *out, size_t at, const char *text)
{
    at += (size_t)snprintf(out + at, PLUMB_DEMO_TEXT - at, "%s", text);
    PLUMB_ASSERT(at < PLUMB_DEMO_TEXT);
    return at;
}

/* "soup, bread and tea" */
static size_t put_things(char *out, size_t at, const struct plumb_demo_order *o)
{
    for (int i = 0; i < o->count; i++) {
        if (i > 0) at = put(out, at, i + 1 < o->count ? ", " : " and ");
        at = put(out, at, plumb_demo_things[o->thing[i]]);
    }
    return at;
}

void plumb_demo_prompt(const struct plumb_demo_order *o, char out[PLUMB_DEMO_TEXT])
{
    size_t at = put(out, 0, "Guest ");
    at = put(out, at, plumb_demo_guests[o->guest]);
    at = put(out, at, ": ");
    at = put_things(out, at, o);
    put(out, at, o->please ? ", please.\nWaiter:" : ".\nWaiter:");
}

/* The order as a waiter with this fault repeats it. */
static void spoil(struct plumb_demo_dice *d, enum plumb_demo_verdict v, struct plumb_demo_order *o)
{
    if (v == PLUMB_DEMO_WRONG_GUEST) {
        const int guests = length(plumb_demo_guests);
        o->guest = (o->guest + 1 + below(d, guests - 1)) % guests;
    } else if (v == PLUMB_DEMO_FORGETS) {
        const int at = plumb_demo_chance(d, 0.75) ? o->count - 1 : below(d, o->count);
        o->count--;
        memmove(o->thing + at, o->thing + at + 1, (size_t)(o->count - at) * sizeof *o->thing);
    } else if (v == PLUMB_DEMO_ADDS) {
        const bool twice = plumb_demo_chance(d, 0.5);
        o->thing[o->count] = twice ? o->thing[o->count - 1] : new_thing(d, o);
        o->count++;
    } else if (v == PLUMB_DEMO_MIXES) {
        const int at = below(d, o->count - 1), thing = o->thing[at];
        o->thing[at] = o->thing[at + 1];
        o->thing[at + 1] = thing;
    }
}

void plumb_demo_answer(struct plumb_demo_dice *d, const struct plumb_demo_order *o,
                       enum plumb_demo_verdict v, char out[PLUMB_DEMO_TEXT])
{
    PLUMB_ASSERT(v != PLUMB_DEMO_UNREADABLE && v < PLUMB_DEMO_VERDICTS);
    struct plumb_demo_order said = *o;
    spoil(d, v, &said);
    const int rude = v == PLUMB_DEMO_RUDE ? below(d, 3) + 1 : 0; /* 1 opening, 2 closing, 3 both */
    size_t at = put(out, 0, " ");
    at = put(out, at, pick(d, rude & 1 ? plumb_demo_rude_openings : plumb_demo_polite_openings));
    at = put(out, at, ", ");
    at = put(out, at, plumb_demo_guests[said.guest]);
    at = put(out, at, ": ");
    at = put_things(out, at, &said);
    at = put(out, at, ". ");
    put(out, at, pick(d, rude & 2 ? plumb_demo_rude_closings : plumb_demo_polite_closings));
}
