/* What the executor's own tests share: checks, device arrays, numbers. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vector>

#include "kernels/gpu.h"

static int selftest_passed, selftest_failed;
#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (x) {                                                                                   \
            selftest_passed++;                                                                     \
        } else {                                                                                   \
            selftest_failed++;                                                                     \
            printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #x);                                 \
        }                                                                                          \
    } while (0)

/* Prints the sums; the exit status of a test program. */
inline int selftest_end(const char *what)
{
    printf("%s: %d checks passed, %d failed\n", what, selftest_passed, selftest_failed);
    return selftest_failed != 0;
}

inline float selftest_random() /* in [-1, 1) */
{
    static uint32_t state = 7;
    return (float)((state = state * 1664525u + 1013904223u) >> 8) / 16777216.0f * 2 - 1;
}

template <class T> struct Dev {
    std::vector<T> h;
    T *d;
    explicit Dev(size_t n) : h(n), d(nullptr)
    {
        if (cudaMalloc(&d, n * sizeof(T))) exit(2);
    }
    Dev(const Dev &) = delete;
    ~Dev() { cudaFree(d); }
    size_t bytes() const { return h.size() * sizeof(T); }
    void up() { cudaMemcpy(d, h.data(), bytes(), cudaMemcpyHostToDevice); }
    void down() { cudaMemcpy(h.data(), d, bytes(), cudaMemcpyDeviceToHost); }
    void zero() { cudaMemset(d, 0, bytes()); }
    void fill(float scale)
    {
        for (T &e : h)
            e = T(scale * selftest_random());
        up();
    }
};
