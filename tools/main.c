/* The binary: finds the command, prints help and errors, turns a status into an exit code. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/command.h"

#define PLUMB_CMD(name) extern const struct plumb_cmd plumb_cmd_##name;
#include "tools/cmds.def"
#undef PLUMB_CMD

static const struct plumb_cmd *const commands[] = {
#define PLUMB_CMD(name) &plumb_cmd_##name,
#include "tools/cmds.def"
#undef PLUMB_CMD
    NULL
};

enum { EXIT_DONE, EXIT_FAILED, EXIT_USAGE };

static void print_help(void)
{
    puts("usage: plumb COMMAND [--option value ...]\n\n"
         "Trains language models from preferences.\n\ncommands:");
    for (const struct plumb_cmd *const *c = commands; *c; c++)
        printf("  %-10s %s\n", (*c)->name, (*c)->summary);
    puts("\nplumb COMMAND --help lists a command's options; plumb --version prints the version.\n"
         "Exit codes: 0 done, 1 failed or stopped by a signal, 2 wrong usage.");
}

static void print_command_help(const struct plumb_cmd *c)
{
    printf("usage: plumb %s%s%s\n\n%s\n", c->name, c->args[0] ? " " : "", c->args, c->summary);
    if (c->options) plumb_options_help(stdout, c->options);
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
    return false;
}

/* libgomp's threads spin for milliseconds while they wait; where another program holds a core
 * that made steps of a small model ten times slower. It reads the limit before main runs, so the
 * limit is set and the program starts over, once; whoever set a wait policy keeps it. */
static void limit_spinning(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
    if (setenv("GOMP_SPINCOUNT", "2000", 1) == 0) execv("/proc/self/exe", argv);
}

static int run_command(const struct plumb_cmd *c, int argc, char **argv)
{
    if (asks_for_help(argc, argv)) {
        print_command_help(c);
        return EXIT_DONE;
    }
    const int rc = c->run(argc, argv);
    if (rc == PLUMB_OK) return EXIT_DONE;
    fprintf(stderr, "plumb %s: %s\n", c->name, plumb_errmsg());
    if (rc != PLUMB_EUSAGE) return EXIT_FAILED;
    fprintf(stderr, "see plumb %s --help\n", c->name);
    return EXIT_USAGE;
}

/* What was printed must have arrived: a full disk behind a pipe is a failure. */
static int close_output(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return code;
    fputs("plumb: could not write standard output\n", stderr);
    return code == EXIT_DONE ? EXIT_FAILED : code;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help();
        return close_output(EXIT_DONE);
    }
    if (strcmp(name, "--version") == 0) {
        puts("plumb " PLUMB_VERSION);
        return close_output(EXIT_DONE);
    }
    limit_spinning(argv);
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is then an error that names the file */
    for (const struct plumb_cmd *const *c = commands; *c; c++)
        if (strcmp((*c)->name, name) == 0) return close_output(run_command(*c, argc - 1, argv + 1));
    if (argc > 1)
        fprintf(stderr, "plumb: unknown command \"%s\": plumb --help lists the commands\n", name);
    else
        fputs("plumb: no command given: plumb --help lists them\n", stderr);
    return EXIT_USAGE;
}
