/* `plumb losses`: the loss formulas that this build holds, by family, with their sources. */
#include "tools/command.h"

struct formula {
    const char *family, *name, *source;
};

static const struct formula formulas[] = {
#define PLUMB_FORMULA(ID, NAME, name, source) { "supervised", #name, source },
#include <plumb/supervised.def>
#undef PLUMB_FORMULA
#define PLUMB_FORMULA(ID, NAME, name, source) { "pairwise", #name, source },
#include <plumb/pairwise.def>
#undef PLUMB_FORMULA
#define PLUMB_FORMULA(ID, NAME, name, source) { "unpaired", #name, source },
#include <plumb/unpaired.def>
#undef PLUMB_FORMULA
#define PLUMB_FORMULA(ID, NAME, name, source) { "reward", #name, source },
#include <plumb/reward.def>
#undef PLUMB_FORMULA
};

static int run(int argc, char **argv)
{
    if (argc > 1) return plumb_fail(PLUMB_EUSAGE, "unexpected argument \"%s\"", argv[1]);
    printf("%-11s %-14s %s\n", "family", "loss", "source");
    for (size_t i = 0; i < sizeof formulas / sizeof *formulas; i++)
        printf("%-11s %-14s %s\n", formulas[i].family, formulas[i].name, formulas[i].source);
    return PLUMB_OK;
}

extern const struct plumb_cmd plumb_cmd_losses;
const struct plumb_cmd plumb_cmd_losses = { "losses", "",
                                            "list the loss functions and their sources", run,
                                            NULL };
