/* `plumb bench`: every op's large cases and whole training steps. */
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/bench.h"
#include "tools/command.h"

#define ROW(key, type_, flags_, lo_, hi_, fallback_, unit_, help_)                                 \
    {                                                                                              \
#key, type_, flags_, offsetof(struct plumb_bench_options, key), lo_, hi_, fallback_,       \
            unit_, help_, NULL                                                                     \
    }
static const struct plumb_option rows[] = {
    ROW(device, PLUMB_OPT_STRING, 0, 0, 0, "cpu", "",
        "cpu, cuda, cuda:<index>, or cuda-sim: the CUDA code on the CPU, its traffic counted"),
    ROW(ops, PLUMB_OPT_BOOL, 0, 0, 0, "true", "", "time the ops' own cases"),
    ROW(step, PLUMB_OPT_BOOL, 0, 0, 0, "true", "",
        "time whole DPO steps with prompt sharing on and off"),
    ROW(op, PLUMB_OPT_STRING, PLUMB_OPT_NONE, 0, 0, NULL, "", "only ops whose name holds this"),
    ROW(csv, PLUMB_OPT_STRING, PLUMB_OPT_NONE, 0, 0, NULL, "",
        "file to append rows to, in Liger-Kernel's columns"),
    ROW(json, PLUMB_OPT_STRING, PLUMB_OPT_NONE, 0, 0, NULL, "", "file to write the figures to"),
    ROW(repeats, PLUMB_OPT_INT, 0, 1, 64, "7", "", "timed runs of each case, after one to warm up"),
    { 0 },
};
static const struct plumb_option_group groups[] = { { "Benchmark", rows, 0 }, { 0 } };
static const struct plumb_option_set options = { groups, NULL, 0 };

/* The compilers' table of registers and shared memory, which a build with nvcc has made. */
static void print_registers(const char *folder, const char *op)
{
    char line[512], path[4200];
    snprintf(path, sizeof path, "%s/gpu_static/registers.txt", folder);
    FILE *f = fopen(path, "re");
    if (!f) printf("registers: no table yet; where there is nvcc, ctest -R cuda_static makes it\n");
    for (int64_t n = 0; f && fgets(line, sizeof line, f); n++)
        if (n == 0 || !op || strstr(line, op)) fputs(line, stdout);
    if (f) fclose(f);
}

/* On the executor time means nothing: its checking build counts what the kernels move instead. That
 * is a program beside this one's tests. */
static int count_traffic(const struct plumb_bench_options *o)
{
    char self[4096], program[sizeof self + 32];
    int status = 0;
    pid_t child;
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    char *slash = strrchr(self, '/');
    if (slash) *slash = 0;
    snprintf(program, sizeof program, "%s/tests/gpu_check", self);
    char *const argv[] = { program, (char *)(uintptr_t)o->op, NULL };
    fflush(stdout);
    if (setenv("PLUMB_SIM_COUNT", "1", 1) || setenv("PLUMB_SIM_RACES", "0", 1) ||
        posix_spawn(&child, program, NULL, NULL, argv, environ))
        return plumb_fail(PLUMB_ENOTSUP,
                          "device cuda-sim: \"%s\" is not there: it counts the traffic; build it "
                          "by cmake --build build -t gpu_check (needs clang++)",
                          program);
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status))
        return plumb_fail(PLUMB_EIO, "device cuda-sim: \"%s\" failed", program);
    print_registers(self, o->op);
    return PLUMB_OK;
}

static int run_parts(const struct plumb_bench_options *o)
{
    if (!strcmp(o->device, "cuda-sim")) return count_traffic(o);
    struct plumb_bench b = { 0 };
    int rc = plumb_bench_open(&b, o);
    if (!rc && o->ops) rc = plumb_bench_ops(&b);
    if (!rc && o->step) rc = plumb_bench_step(&b);
    const int closed = plumb_bench_close(&b);
    return rc ? rc : closed;
}

static int run(int argc, char **argv)
{
    struct plumb_options parsed;
    struct plumb_bench_options o;
    PLUMB_TRY(plumb_options_parse(&parsed, &options, &o, argc, argv));
    const int rc = run_parts(&o);
    plumb_options_release(&parsed);
    return rc;
}

extern const struct plumb_cmd plumb_cmd_bench;
const struct plumb_cmd plumb_cmd_bench = { "bench", "[options]",
                                           "time the kernels and a training step", run, &options };
