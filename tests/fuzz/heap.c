/* Memory in the replay programs. Where AddressSanitizer owns malloc, the linker's --wrap leads the
 * calls of this repository's code (and cJSON's) here; elsewhere this is everybody's malloc. */
#include "tests/fuzz/heap.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <string.h>

static _Atomic int64_t left, refused;
static _Atomic bool all_behind;

void heap_fail(int64_t k, bool all)
{
    refused = 0;
    all_behind = all;
    left = k;
}

int64_t heap_refused(void) { return refused; }

static bool refuse(void)
{
    if (left == 0) return false;
    if (left > 1) {
        left--;
        return false;
    }
    if (!all_behind) left = 0;
    refused++;
    errno = ENOMEM;
    return true;
}

#ifdef __SANITIZE_ADDRESS__
#include <cJSON.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

void *__wrap_malloc(size_t n) { return refuse() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t count, size_t n) { return refuse() ? NULL : __real_calloc(count, n); }
void *__wrap_realloc(void *p, size_t n) { return refuse() ? NULL : __real_realloc(p, n); }
char *__wrap_strdup(const char *s) { return refuse() ? NULL : __real_strdup(s); }
char *__wrap_strndup(const char *s, size_t n) { return refuse() ? NULL : __real_strndup(s, n); }

int64_t heap_blocks(void) { return -1; }
int64_t heap_peak(void) { return -1; }

__attribute__((constructor)) static void take_over_json(void)
{
    cJSON_InitHooks(&(cJSON_Hooks){ __wrap_malloc, free });
}
#else
static _Atomic int64_t blocks, bytes, most;
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t count, size_t n);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

static void *count(void *p)
{
    if (!p) return NULL;
    blocks++;
    bytes += (int64_t)malloc_usable_size(p);
    if (bytes > most) most = bytes;
    return p;
}

void *malloc(size_t n) { return refuse() ? NULL : count(__libc_malloc(n)); }
void *calloc(size_t n, size_t each) { return refuse() ? NULL : count(__libc_calloc(n, each)); }

void free(void *p)
{
    if (!p) return;
    blocks--;
    bytes -= (int64_t)malloc_usable_size(p);
    __libc_free(p);
}

void *realloc(void *p, size_t n)
{
    if (!p) return malloc(n);
    if (refuse()) return NULL;
    const int64_t before = (int64_t)malloc_usable_size(p);
    void *q = __libc_realloc(p, n);
    if (!q && n) return NULL;
    blocks--;
    bytes -= before;
    return count(q);
}

int64_t heap_blocks(void) { return blocks; }

int64_t heap_peak(void)
{
    static int64_t base;
    const int64_t peak = most - base;
    base = bytes;
    most = base;
    return peak;
}
#endif
