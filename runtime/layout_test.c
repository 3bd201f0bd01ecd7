/* The table of layouts is complete: no field of a struct is missing from it. */
#include <criterion/criterion.h>
#include <plumb/layout.h>
#include <plumb/pairwise.h>
#include <string.h>

Test(layout, fields_leave_no_gap_that_another_would_fit_into)
{
    int64_t count;
    const struct plumb_layout *l = plumb_layouts(&count);
    cr_assert_gt(count, 15);
    for (int64_t i = 0; i < count; i++) {
        size_t end = 0;
        for (int64_t f = 0; f < l[i].field_count; f++) {
            const struct plumb_layout_field *field = &l[i].fields[f];
            cr_expect(field->offset >= end && field->offset < end + 8, "%s.%s", l[i].name,
                      field->name);
            end = field->offset + field->bytes;
        }
        cr_expect(end <= l[i].bytes && l[i].bytes < end + 8, "the end of %s", l[i].name);
        if (i) cr_expect_lt(strcmp(l[i - 1].name, l[i].name), 0, "%s", l[i].name);
    }
}

static const struct plumb_layout_field *find(const char *type, const char *name)
{
    int64_t count;
    const struct plumb_layout *l = plumb_layouts(&count);
    for (int64_t i = 0; i < count; i++)
        for (int64_t f = 0; !strcmp(l[i].name, type) && f < l[i].field_count; f++)
            if (!strcmp(l[i].fields[f].name, name)) return &l[i].fields[f];
    cr_assert(false, "%s.%s is missing", type, name);
    return NULL;
}

Test(layout, constants_are_those_of_the_headers)
{
    int64_t count;
    int found = 0;
    const struct plumb_constant *c = plumb_constants(&count);
    for (int64_t i = 0; i < count; i++) {
        if (!strcmp(c[i].name, "PLUMB_BF16")) found += c[i].value == PLUMB_BF16;
        if (!strcmp(c[i].name, "PLUMB_F_DIVERGENCES")) found += c[i].value == PLUMB_F_DIVERGENCES;
        if (i) cr_expect_lt(strcmp(c[i - 1].name, c[i].name), 0, "%s", c[i].name);
    }
    cr_expect_eq(found, 2);
}

Test(layout, kinds_are_those_of_the_headers)
{
    static const struct {
        const char *type, *name;
        char kind;
    } known[] = { { "plumb_pairwise", "struct_bytes", 'u' }, { "plumb_pairwise", "B", 'l' },
                  { "plumb_pairwise", "offset", 'p' },       { "plumb_pairwise", "logp", 't' },
                  { "plumb_pairwise", "beta", 'd' },         { "plumb_tensor", "dtype", 'i' },
                  { "plumb_logprob", "epilogue", 'p' },      { "plumb_matmul", "trans_a", 'b' },
                  { "plumb_attention", "forest", 'x' } };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        cr_expect_eq(find(known[i].type, known[i].name)->kind, known[i].kind, "%s.%s",
                     known[i].type, known[i].name);
    cr_expect_str_eq(find("plumb_attention", "forest")->of, "plumb_forest");
    cr_expect_str_eq(find("plumb_attention", "K")->of, "");
    cr_expect_eq(find("plumb_pairwise", "beta")->offset, offsetof(struct plumb_pairwise, beta));
}
