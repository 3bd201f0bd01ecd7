/* Checks the arguments of the attention, lays out its workspace and picks the code that runs it. */
#include <plumb/attention.h>

#include <omp.h>
#include <plumb/backend.h>

#include "kernels/attention/attention_gpu.h"
#include "kernels/attention/forest.h"
#include "kernels/attention/plan.h"
#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_attention_fwd_cpu, plumb_attention_plan);
PLUMB_CPU_DECLARE(plumb_attention_bwd_cpu, plumb_attention_plan);

enum { LANES = PLUMB_ATTENTION_LANES, TILE = PLUMB_ATTENTION_TILE, GROUP = PLUMB_ATTENTION_GROUP };

static int check_stride(const char *field, int64_t ld, int64_t dense)
{
    return ld ? plumb_check_size("attention", field, ld, dense) : PLUMB_OK;
}

static int check_shape(const struct plumb_attention *a)
{
    PLUMB_TRY(plumb_check_size("attention", "N", a->N, 0));
    PLUMB_TRY(plumb_check_size("attention", "Hkv", a->Hkv, 1));
    PLUMB_TRY(plumb_check_size("attention", "Hq", a->Hq, 1));
    PLUMB_TRY(plumb_check_size("attention", "K", a->K, 1));
    if (a->Hq % a->Hkv)
        return plumb_fail(PLUMB_EINVAL, "attention: Hq=%lld is no multiple of Hkv=%lld",
                          (long long)a->Hq, (long long)a->Hkv);
    PLUMB_TRY(check_stride("ldq", a->ldq, a->Hq * a->K));
    PLUMB_TRY(check_stride("ldk", a->ldk, a->Hkv * a->K));
    PLUMB_TRY(check_stride("ldv", a->ldv, a->Hkv * a->K));
    PLUMB_TRY(check_stride("ldo", a->ldo, a->Hq * a->K));
    PLUMB_TRY(plumb_check_size("attention", "window", a->window, 0));
    if (!(a->scale > 0))
        return plumb_fail(PLUMB_EINVAL, "attention: scale=%g, must be above 0", a->scale);
    if (!(a->softcap >= 0))
        return plumb_fail(PLUMB_EINVAL, "attention: softcap=%g, must be at least 0", a->softcap);
    return PLUMB_OK;
}

static int check_queries(const struct plumb_attention *a)
{
    for (int64_t s = 0; a->q_start && s < a->forest.S; s++) {
        if (a->q_count[s] < 0 || a->q_count[s] > a->forest.length[s])
            return plumb_fail(PLUMB_EINVAL, "attention: q_count[%lld]=%d, segment %lld has %d rows",
                              (long long)s, (int)a->q_count[s], (long long)s,
                              (int)a->forest.length[s]);
        if (a->q_start[s] < 0)
            return plumb_fail(PLUMB_EINVAL, "attention: q_start[%lld]=%d, must be at least 0",
                              (long long)s, (int)a->q_start[s]);
    }
    return PLUMB_OK;
}

static int check(const struct plumb_device *dev, const struct plumb_attention *a, bool backward)
{
    PLUMB_TRY(plumb_check_args("attention", dev, a, sizeof *a));
    PLUMB_TRY(check_shape(a));
    PLUMB_TRY(plumb_forest_present("attention", &a->forest));
    if (!a->q_start != !a->q_count)
        return plumb_fail(PLUMB_EINVAL, "attention: %s is missing",
                          a->q_start ? "q_count" : "q_start");
    if (dev->kind != PLUMB_DEV_CUDA) { /* there the kernels leave out what breaks the rules */
        PLUMB_TRY(plumb_forest_check("attention", &a->forest, a->N,
                                     a->q_start ? PLUMB_FOREST_ANYWHERE : PLUMB_FOREST_GAPS));
        PLUMB_TRY(check_queries(a));
    }
    PLUMB_TRY(plumb_check_tensor("attention", dev, "q", &a->q, PLUMB_MASK_FLOATS));
    const unsigned same = PLUMB_MASK(a->q.dtype);
    PLUMB_TRY(plumb_check_tensor("attention", dev, "k", &a->k, same));
    PLUMB_TRY(plumb_check_tensor("attention", dev, "v", &a->v, same));
    PLUMB_TRY(plumb_check_tensor("attention", dev, "o", &a->o, same));
    if (dev->kind != PLUMB_DEV_REF && !a->work.data)
        return plumb_fail(PLUMB_EINVAL, "attention: work is missing");
    if (!backward) return plumb_check_optional("attention", dev, "lse", &a->lse, PLUMB_MASK_F32);
    if (a->q_start)
        return plumb_fail(PLUMB_EINVAL,
                          "attention: the backward takes no q_start: all rows are queries");
    PLUMB_TRY(plumb_check_tensor("attention", dev, "lse", &a->lse, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor("attention", dev, "d_o", &a->d_o, same));
    PLUMB_TRY(plumb_check_tensor("attention", dev, "dq", &a->dq, same));
    PLUMB_TRY(plumb_check_tensor("attention", dev, "dk", &a->dk, same));
    return plumb_check_tensor("attention", dev, "dv", &a->dv, same);
}

/* Hands out `bytes` of the workspace; with base NULL it only counts. */
static void *take(char *base, size_t *used, size_t bytes)
{
    void *p = base ? base + *used : NULL;
    *used += (bytes + 63) / 64 * 64;
    return p;
}

/* Lays the plan into the workspace (or counts it, base NULL) and returns its bytes. */
static size_t lay_out(struct plumb_attention_plan *p, const struct plumb_attention *a,
                      bool backward, char *base)
{
    const int64_t Kq = a->Hq * a->K, Kkv = a->Hkv * a->K;
    const size_t S = (size_t)a->forest.S, N = (size_t)a->N, G = (size_t)(a->Hq / a->Hkv);
    const size_t width = (size_t)(a->K + 15) / 16 * 16, group = GROUP;
    size_t used = 0;
    *p = (struct plumb_attention_plan){ .a = a,
                                        .G = (int64_t)G,
                                        .width = (int64_t)width,
                                        .ldq = a->ldq ? a->ldq : Kq,
                                        .ldk = a->ldk ? a->ldk : Kkv,
                                        .ldv = a->ldv ? a->ldv : Kkv,
                                        .ldo = a->ldo ? a->ldo : Kq,
                                        .bf16 = a->q.dtype == PLUMB_BF16,
                                        .threads = omp_get_max_threads() };
    p->path_start = take(base, &used, S * sizeof *p->path_start);
    p->query_block = take(base, &used, (N * G / (LANES * group) + S) * sizeof *p->query_block);
    size_t panels = 2 * TILE + group * 2 * LANES, squares = 1;
    if (backward) {
        p->first_child = take(base, &used, S * sizeof *p->first_child);
        p->next_sibling = take(base, &used, S * sizeof *p->next_sibling);
        p->root = take(base, &used, S * sizeof *p->root);
        p->key_block = take(base, &used, (N / TILE + S) * sizeof *p->key_block);
        p->delta = take(base, &used, N * (size_t)a->Hq * sizeof *p->delta);
        p->dk = take(base, &used, N * (size_t)a->Hkv * width * sizeof *p->dk);
        p->dv = take(base, &used, N * (size_t)a->Hkv * width * sizeof *p->dv);
        panels = 2 * TILE + group * 5 * LANES;
        squares = 2;
    }
    p->scratch_bytes = (int64_t)((panels * width + squares * TILE * LANES) * sizeof(float));
    p->scratch = take(base, &used, (size_t)p->scratch_bytes * (size_t)p->threads);
    return used;
}

static void fill_tables(struct plumb_attention_plan *p)
{
    const struct plumb_forest *f = &p->a->forest;
    for (int64_t s = 0; s < f->S; s++) {
        const int32_t parent = f->parent[s];
        p->path_start[s] = parent < 0 ? 0 : p->path_start[parent] + f->length[parent];
        const int64_t rows = (p->a->q_count ? p->a->q_count[s] : f->length[s]) * p->G;
        for (int64_t r = 0; r < rows; r += LANES * GROUP)
            p->query_block[p->query_blocks++] = (struct plumb_attention_block){ (int32_t)s, r };
    }
    if (!p->key_block) return;
    for (int64_t s = 0; s < f->S; s++) {
        p->first_child[s] = p->next_sibling[s] = -1;
        if (f->parent[s] < 0) p->root[p->roots++] = (int32_t)s;
        for (int64_t r = 0; r < f->length[s]; r += TILE)
            p->key_block[p->key_blocks++] = (struct plumb_attention_block){ (int32_t)s, r };
    }
    for (int64_t s = f->S - 1; s >= 0; s--) { /* backwards, so that children come in index order */
        if (f->parent[s] < 0) continue;
        p->next_sibling[s] = p->first_child[f->parent[s]];
        p->first_child[f->parent[s]] = (int32_t)s;
    }
}

static void plan(struct plumb_attention_plan *p, const struct plumb_attention *a, bool backward)
{
    char *work = a->work.data;
    lay_out(p, a, backward, work + (64 - (uintptr_t)work % 64) % 64);
    fill_tables(p);
}

size_t plumb_attention_workspace(const struct plumb_device *dev, const struct plumb_attention *a,
                                 bool backward)
{
    if (plumb_check_args("attention", dev, a, sizeof *a)) return 0;
    struct plumb_attention_plan p;
    struct plumb_attention_tables t;
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_attention_tables_at(&t, a, backward, NULL);
    return dev->kind == PLUMB_DEV_CPU ? lay_out(&p, a, backward, NULL) + 64 : 0;
}

int plumb_attention_fwd(const struct plumb_device *dev, const struct plumb_attention *a)
{
    PLUMB_TRY(check(dev, a, false));
    if (dev->kind == PLUMB_DEV_CPU) {
        struct plumb_attention_plan p;
        plan(&p, a, false);
        return PLUMB_CPU_CALL(plumb_attention_fwd_cpu, &p);
    }
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "attention_fwd", a, sizeof *a);
    plumb_attention_fwd_ref(a, dev->round);
    return PLUMB_OK;
}

int plumb_attention_bwd(const struct plumb_device *dev, const struct plumb_attention *a)
{
    PLUMB_TRY(check(dev, a, true));
    if (dev->kind == PLUMB_DEV_CPU) {
        struct plumb_attention_plan p;
        plan(&p, a, true);
        return PLUMB_CPU_CALL(plumb_attention_bwd_cpu, &p);
    }
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "attention_bwd", a, sizeof *a);
    plumb_attention_bwd_ref(a, dev->round);
    return PLUMB_OK;
}
