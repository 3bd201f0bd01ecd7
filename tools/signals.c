/* SIGINT and SIGTERM as a flag. */
#include "tools/signals.h"

#include <signal.h>

static volatile sig_atomic_t came;

static void note(int number)
{
    (void)number;
    came = 1;
}

void plumb_signals_catch(void)
{
    /* After the first the default action stands again: a second Ctrl-C ends a run that hangs. */
    struct sigaction a = { .sa_handler = note, .sa_flags = SA_RESETHAND | SA_RESTART };
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}

bool plumb_signals_came(void *unused)
{
    (void)unused;
    return came != 0;
}
