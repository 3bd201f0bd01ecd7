#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "tests/attention_problem.h"

static void check_alone(const struct problem *p)
{
    const struct plumb_attention *a = &p->a;
    for (int s = 0; s < a->forest.S; s++) {
        struct problem one;
        alone(&one, p, s);
        run(plumb_test_device(), &one, true);
        const int64_t rows = p->length[s], at = one.a.N - rows;
        cr_expect(same_rows(&a->o, p->start[s], &one.a.o, at, rows, a->Hq * a->K),
                  "o of segment %d", s);
        cr_expect(same_rows(&a->lse, p->start[s], &one.a.lse, at, rows, a->Hq), "lse of segment %d",
                  s);
        cr_expect(same_rows(&a->dq, p->start[s], &one.a.dq, at, rows, a->Hq * a->K),
                  "dq of segment %d", s);
        release(&one);
    }
}

Test(attention, packed_rows_have_the_bits_of_their_sequences_alone)
{
    /* two prompts with children and a grandchild between other roots, lengths around the tile */
    const int length[] = { 63, 65, 5, 64, 1, 70, 130, 2 }, parent[] = { -1, 0, 0, -1, 3, 1, 3, -1 };
    for (int i = 0; i < 8; i++) {
        struct problem p;
        init(&p, i & 2 ? 4 : 9, i & 2 ? 4 : 3, i & 2 ? 20 : 64, i & 1 ? PLUMB_BF16 : PLUMB_F32, 8,
             length, parent);
        p.a.window = i & 4 ? 66 : 0;
        p.a.softcap = i & 4 ? 3 : 0;
        run(plumb_test_device(), &p, true);
        check_alone(&p);
        release(&p);
    }
}

Test(attention, decode_steps_have_the_bits_of_the_training_rows)
{
    const int length[] = { 63, 70, 3 }, parent[] = { -1, 0, 0 };
    for (int i = 0; i < 4; i++) {
        struct problem p;
        init(&p, 6, 2, 48, i & 1 ? PLUMB_BF16 : PLUMB_F32, 3, length, parent);
        p.a.window = i & 2 ? 40 : 0;
        run(plumb_test_device(), &p, false);
        const int64_t width = p.a.Hq * p.a.K;
        for (int n = 1; n <= 70;
             n++) { /* child 1 has n rows, child 2 up to 3; rows that do not exist yet hold NaN */
            const int32_t count[] = { 0, 1, n <= 3 }, start[] = { 0, 0, 1 },
                          so_far[] = { 63, n, n <= 3 ? n : 3 };
            struct problem d;
            init(&d, 6, 2, 48, p.a.q.dtype, 3, length, parent);
            for (int64_t j = 0; j < d.a.N * d.a.Hkv * d.a.K; j++)
                plumb_store(d.a.k.data, i & 1, j, NAN), plumb_store(d.a.v.data, i & 1, j, NAN);
            for (int s = 0; s < 3; s++) {
                copy_rows(&d.a.k, p.start[s], &p.a.k, p.start[s], so_far[s], d.a.Hkv * d.a.K);
                copy_rows(&d.a.v, p.start[s], &p.a.v, p.start[s], so_far[s], d.a.Hkv * d.a.K);
            }
            copy_rows(&d.a.q, 0, &p.a.q, p.start[1] + n - 1, 1, width);
            if (n <= 3) copy_rows(&d.a.q, 1, &p.a.q, p.start[2] + n - 1, 1, width);
            d.a.forest.length = so_far;
            d.a.q_start = start;
            d.a.q_count = count;
            d.a.window = p.a.window;
            run(plumb_test_device(), &d, false);
            cr_expect(same_rows(&d.a.o, 0, &p.a.o, p.start[1] + n - 1, 1, width), "row %d", n);
            if (n <= 3)
                cr_expect(same_rows(&d.a.o, 1, &p.a.o, p.start[2] + n - 1, 1, width),
                          "row %d of child 2", n);
            release(&d);
        }
        release(&p);
    }
}

/* With few threads a task is a tree, with many the backward runs in two passes: the same bits. */
Test(attention, thread_counts_change_no_bit)
{
    /* two prompts whose children lie interleaved, a grandchild, and a root alone */
    const int length[] = { 90, 65, 5, 64, 130, 70 }, parent[] = { -1, -1, 0, 1, 2, -1 };
    for (int i = 0; i < 4; i++) {
        struct problem p[3];
        for (int j = 0; j < 3; j++) {
            omp_set_num_threads(j == 0 ? 1 : j == 1 ? 2 : 9);
            init(&p[j], 6, 2, 40, i & 1 ? PLUMB_BF16 : PLUMB_F32, 6, length, parent);
            p[j].a.window = i & 2 ? 77 : 0;
            run(plumb_test_device(), &p[j], true);
        }
        for (int j = 1; j < 3; j++) {
            const struct plumb_attention *a = &p[0].a, *b = &p[j].a;
            cr_expect(same_rows(&a->o, 0, &b->o, 0, a->N, 6 * 40), "o, case %d", i);
            cr_expect(same_rows(&a->dq, 0, &b->dq, 0, a->N, 6 * 40), "dq, case %d", i);
            cr_expect(same_rows(&a->dk, 0, &b->dk, 0, a->N, 2 * 40), "dk, case %d", i);
            cr_expect(same_rows(&a->dv, 0, &b->dv, 0, a->N, 2 * 40), "dv, case %d", i);
        }
        for (int j = 0; j < 3; j++)
            release(&p[j]);
    }
}
