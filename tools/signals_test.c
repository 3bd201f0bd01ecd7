#include "tools/signals.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

Test(signals, the_first_is_noted_and_the_second_ends_the_process)
{
    const int numbers[] = { SIGINT, SIGTERM };
    for (int i = 0; i < 2; i++) {
        int status;
        const pid_t child = fork();
        cr_assert_neq(child, -1);
        if (child == 0) {
            plumb_signals_catch();
            if (plumb_signals_came(NULL)) _exit(1);
            raise(numbers[i]);
            if (!plumb_signals_came(NULL)) _exit(2);
            raise(numbers[i]);
            _exit(3);
        }
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == numbers[i], "status %x", status);
    }
}
