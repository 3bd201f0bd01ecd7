/* Runs the built binary as a user would, for whole-program tests. */
#pragma once
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct program {
    int code;                        /* exit code; 128 + the signal that ended it */
    char out[1 << 16], err[1 << 14]; /* the beginnings of what it wrote */
    double cpu_seconds;
};

static inline void program_read(int fd, char *to, size_t room)
{
    size_t n = 0;
    char rest[4096];
    for (ssize_t got; (got = read(fd, n < room - 1 ? to + n : rest,
                                  n < room - 1 ? room - 1 - n : sizeof rest)) > 0;)
        if (n < room - 1) n += (size_t)got;
    to[n] = 0;
    close(fd);
}

/* $PLUMB_BUILD/plumb with `argv`, closed by NULL, in the working folder. argv[0] is its name. */
static inline void program_run(struct program *p, const char *const *argv)
{
    char path[1024], out_name[] = "/tmp/plumb_out_XXXXXX", err_name[] = "/tmp/plumb_err_XXXXXX";
    const char *build = getenv("PLUMB_BUILD");
    struct rusage usage;
    int status = 0;
    snprintf(path, sizeof path, "%s/plumb", build ? build : "build");
    const int out = mkstemp(out_name), err = mkstemp(err_name);
    cr_assert(out >= 0 && err >= 0);
    unlink(out_name);
    unlink(err_name);
    const pid_t child = fork();
    cr_assert_neq(child, -1);
    if (child == 0) {
        dup2(open("/dev/null", O_RDONLY), 0);
        dup2(out, 1);
        dup2(err, 2);
        execv(path, (char *const *)argv);
        _exit(127);
    }
    cr_assert_eq(wait4(child, &status, 0, &usage), child);
    p->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    cr_assert_neq(p->code, 127, "could not run %s", path);
    p->cpu_seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
    lseek(out, 0, SEEK_SET);
    lseek(err, 0, SEEK_SET);
    program_read(out, p->out, sizeof p->out);
    program_read(err, p->err, sizeof p->err);
}
#define PROGRAM_RUN(p, ...) program_run(p, (const char *const[]){ "plumb", __VA_ARGS__, NULL })
