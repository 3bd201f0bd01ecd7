/* A command of the binary: tools/cmd_<name>.c defines `const struct plumb_cmd plumb_cmd_<name>`,
 * cmds.def lists it. */
#pragma once
#include "tools/options.h"

struct plumb_cmd {
    const char *name;
    const char *args;    /* what stands after the name in the usage line */
    const char *summary; /* one line, lower case, no full stop */
    /* argv[0] is the command's name. Returns a status: PLUMB_EUSAGE becomes exit code 2, other
     * faults 1; main prints plumb_errmsg(). `--help` and `-h` never reach it. */
    int (*run)(int argc, char **argv);
    const struct plumb_option_set *options; /* what --help prints below the usage; NULL = none */
};
