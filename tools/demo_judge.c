/* The verifier of the demo's world: reads texts word for word. */
#include <string.h>

#include "tools/demo_words.h"
#include "tools/demo_world.h"

/* Takes `text` off the front of *at. */
static bool take(const char **at, const char *text)
{
    const size_t n = strlen(text);
    if (strncmp(*at, text, n) != 0) return false;
    *at += n;
    return true;
}

/* Takes one of the list and then `end`; its index, or -1. */
static int take_one(const char **at, const char *const *list, const char *end)
{
    const char *const start = *at;
    for (int i = 0; list[i]; i++) {
        if (take(at, list[i]) && take(at, end)) return i;
        *at = start;
    }
    return -1;
}

/* "soup, bread and tea": at most one thing more than an order has. */
static bool take_things(const char **at, struct plumb_demo_order *o)
{
    bool last = false;
    for (o->count = 0; o->count <= PLUMB_DEMO_THINGS;) {
        const int thing = take_one(at, plumb_demo_things, "");
        if (thing < 0) return false;
        o->thing[o->count++] = thing;
        if (last) return true;
        last = take(at, " and ");
        if (!last && !take(at, ", ")) return o->count == 1;
    }
    return false;
}

static bool read_prompt(const char *at, struct plumb_demo_order *o)
{
    if (!take(&at, "Guest ")) return false;
    o->guest = take_one(&at, plumb_demo_guests, ": ");
    if (o->guest < 0 || !take_things(&at, o)) return false;
    o->please = take(&at, ", please");
    return take(&at, ".\nWaiter:") && !*at;
}

/* One of the polite or of the rude; *rude is set for the latter. */
static bool take_manner(const char **at, const char *const *polite, const char *const *rude,
                        const char *end, bool *is_rude)
{
    if (take_one(at, polite, end) >= 0) return true;
    *is_rude = true;
    return take_one(at, rude, end) >= 0;
}

static bool read_answer(const char *at, struct plumb_demo_order *o, bool *rude)
{
    *rude = false;
    if (!take(&at, " ") ||
        !take_manner(&at, plumb_demo_polite_openings, plumb_demo_rude_openings, ", ", rude))
        return false;
    o->guest = take_one(&at, plumb_demo_guests, ": ");
    return o->guest >= 0 && take_things(&at, o) && take(&at, ". ") &&
           take_manner(&at, plumb_demo_polite_closings, plumb_demo_rude_closings, "", rude) && !*at;
}

static bool names(const struct plumb_demo_order *o, int thing)
{
    for (int i = 0; i < o->count; i++)
        if (o->thing[i] == thing) return true;
    return false;
}

enum plumb_demo_verdict plumb_demo_judge(const char *prompt, const char *answer)
{
    struct plumb_demo_order asked, said;
    bool rude;
    if (!read_prompt(prompt, &asked) || !read_answer(answer, &said, &rude))
        return PLUMB_DEMO_UNREADABLE;
    if (said.guest != asked.guest) return PLUMB_DEMO_WRONG_GUEST;
    if (rude) return PLUMB_DEMO_RUDE;
    for (int i = 0; i < asked.count; i++)
        if (!names(&said, asked.thing[i])) return PLUMB_DEMO_FORGETS;
    if (said.count > asked.count) return PLUMB_DEMO_ADDS; /* things of an order are distinct */
    for (int i = 0; i < asked.count; i++)
        if (said.thing[i] != asked.thing[i]) return PLUMB_DEMO_MIXES;
    return PLUMB_DEMO_GOOD;
}
