/* Devices and the choice of instruction set. */
#include <plumb/base.h>
#include <stdlib.h>
#include <string.h>

const struct plumb_device plumb_cpu = { .kind = PLUMB_DEV_CPU };
const struct plumb_device plumb_ref = { .kind = PLUMB_DEV_REF };

static enum plumb_isa detect(void)
{
    enum plumb_isa best = PLUMB_ISA_BASE;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = PLUMB_ISA_AVX2;
    if (best == PLUMB_ISA_AVX2 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        best = PLUMB_ISA_AVX512;
#endif
    const char *cap = getenv("PLUMB_ISA");
    if (cap && !strcmp(cap, "v2")) best = PLUMB_ISA_BASE;
    if (cap && !strcmp(cap, "v3") && best > PLUMB_ISA_AVX2) best = PLUMB_ISA_AVX2;
    return best;
}

enum plumb_isa plumb_cpu_isa(void)
{
    static int known = -1; /* every thread computes the same value */
    int isa = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (isa < 0) {
        isa = (int)detect();
        __atomic_store_n(&known, isa, __ATOMIC_RELAXED);
    }
    return (enum plumb_isa)isa;
}

const char *plumb_isa_name(enum plumb_isa isa)
{
    return isa == PLUMB_ISA_AVX512 ? "AVX-512" : isa == PLUMB_ISA_AVX2 ? "AVX2" : "baseline";
}

bool plumb_cpu_has_bf16(void)
{
#if defined(__x86_64__)
    return plumb_cpu_isa() == PLUMB_ISA_AVX512 && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}
