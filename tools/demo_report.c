/* Results of the demo for people. */
#include "tools/demo_report.h"

#include <stdio.h>
#include <string.h>

#include "io/report.h"

#define SHOWN 6    /* samples on the terminal */
#define ON_PAGE 12 /* in the report */

static double percent(const struct plumb_demo_results *r, int64_t n)
{
    return 100 * (double)n / (double)r->trial->pairs.count;
}

/* "good", or "bad: " and why. */
static void mark(const struct plumb_demo_reply *a, char *out, size_t n)
{
    const bool good = a->verdict == PLUMB_DEMO_GOOD;
    snprintf(out, n, "%s%s", good ? "" : "bad: ", plumb_demo_verdict_text(a->verdict));
}

static void print_reply(const char *when, const struct plumb_demo_reply *a)
{
    char why[64];
    mark(a, why, sizeof why);
    printf("    %-7s%-62s  %s\n", when, a->text, why);
}

void plumb_demo_print_samples(const struct plumb_demo_results *r)
{
    const struct plumb_demo_trial *t = r->trial;
    printf("\nThe first held-out orders, answered before and after DPO:\n");
    for (int64_t i = 0; i < SHOWN && i < t->pairs.count; i++) {
        printf("  %.*s\n", (int)strcspn(t->prompt[i], "\n"), t->prompt[i]);
        print_reply("before", &t->before[i]);
        print_reply("after", &t->after[i]);
    }
}

static int64_t count(const struct plumb_demo_results *r, const struct plumb_demo_reply *reply,
                     enum plumb_demo_verdict v)
{
    int64_t n = 0;
    for (int64_t i = 0; i < r->trial->pairs.count; i++)
        n += reply[i].verdict == v;
    return n;
}

void plumb_demo_print_results(const struct plumb_demo_results *r)
{
    const struct plumb_demo_trial *t = r->trial;
    const long long n = (long long)t->pairs.count;
    printf("\nOn %lld held-out orders                  before DPO   after DPO\n", n);
    printf("  good answers                          %8.1f %%  %8.1f %%\n",
           percent(r, r->good_before), percent(r, r->good_after));
    for (int v = 1; v < PLUMB_DEMO_VERDICTS; v++) {
        const int64_t before = count(r, t->before, v), after = count(r, t->after, v);
        if (before + after > 0)
            printf("    %-36s%8.1f %%  %8.1f %%\n", plumb_demo_verdict_text(v), percent(r, before),
                   percent(r, after));
    }
    printf("  good answer more probable than the bad%8.1f %%  %8.1f %%   of the held-out pairs\n",
           100 * r->watch->preferred_before, 100 * r->watch->preferred_after);
    printf("  and gained on it by DPO                          %10.1f %%   rewards/accuracies\n",
           100 * r->watch->accuracy);
}

int plumb_demo_write_report(const struct plumb_demo_results *r, const char *path,
                            const char *metrics, const char *sft_command, const char *dpo_command)
{
    const struct plumb_demo_trial *t = r->trial;
    struct plumb_report_sample samples[ON_PAGE];
    char side[ON_PAGE][2][PLUMB_DEMO_TEXT + 80], why[64], value[4][80], title[120];
    int shown = 0;
    for (; shown < ON_PAGE && shown < t->pairs.count; shown++) {
        const struct plumb_demo_reply *reply[2] = { &t->before[shown], &t->after[shown] };
        for (int k = 0; k < 2; k++) {
            mark(reply[k], why, sizeof why);
            snprintf(side[shown][k], sizeof side[shown][k], "%s\n[%s]", reply[k]->text + 1, why);
        }
        samples[shown] = (struct plumb_report_sample){ t->prompt[shown], side[shown][0],
                                                       side[shown][1] };
    }
    snprintf(value[0], sizeof value[0], "%.1f %% to %.1f %%", percent(r, r->good_before),
             percent(r, r->good_after));
    snprintf(value[1], sizeof value[1], "%.1f %% to %.1f %%", 100 * r->watch->preferred_before,
             100 * r->watch->preferred_after);
    snprintf(value[2], sizeof value[2], "%.1f %%", 100 * r->watch->accuracy);
    snprintf(value[3], sizeof value[3], "%.0f s", r->seconds);
    snprintf(title, sizeof title, "plumb demo: steps 1 to %lld are SFT, the others DPO",
             (long long)r->watch->shift);
    const struct plumb_report_field results[] = {
        { "good answers to held-out orders, before and after DPO", value[0] },
        { "held-out pairs whose good answer is the more probable, before and after", value[1] },
        { "held-out pairs whose good answer gained on the bad one by DPO (rewards/accuracies)",
          value[2] },
        { "for everything", value[3] },
    };
    const struct plumb_report_field options[] = { { "first stage", sft_command },
                                                  { "second stage", dpo_command } };
    const struct plumb_report report = { .title = title,
                                         .metrics_path = metrics,
                                         .results = results,
                                         .result_count = 4,
                                         .options = options,
                                         .option_count = 2,
                                         .samples = samples,
                                         .sample_count = shown };
    return plumb_report_write(path, &report);
}
