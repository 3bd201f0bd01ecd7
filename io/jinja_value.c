/* Values of templates: memory, strings, lists, dictionaries. */
#include "io/jinja_value.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct plumb_jinja_block {
    struct plumb_jinja_block *next;
    size_t used, room;
    _Alignas(16) char at[];
};
enum { BLOCK = 1 << 16, SMALL = 8, NESTED = 1000, KEY_WEIGHT = 256 };
static const int64_t endless = INT64_MAX / 4;

int plumb_jinja_take(struct plumb_jinja_pool *pool, size_t bytes, void **out)
{
    const size_t want = (bytes + 15) / 16 * 16;
    struct plumb_jinja_block *b = pool->blocks;
    *out = NULL;
    if (want < bytes || want > pool->limit || pool->used > pool->limit - want)
        return plumb_fail(PLUMB_EMEM, "the template wants more than %zu MiB", pool->limit >> 20);
    if (!b || b->room - b->used < want) {
        const size_t room = want > BLOCK ? want : BLOCK;
        b = calloc(1, sizeof *b + room);
        if (!b) return plumb_fail(PLUMB_EMEM, "could not allocate %zu bytes for a template", room);
        b->room = room;
        b->next = pool->blocks;
        pool->blocks = b;
    }
    *out = b->at + b->used;
    b->used += want;
    pool->used += want;
    return PLUMB_OK;
}

void plumb_jinja_pool_release(struct plumb_jinja_pool *pool)
{
    while (pool->blocks) {
        struct plumb_jinja_block *b = pool->blocks;
        pool->blocks = b->next;
        free(b);
    }
    pool->used = 0;
}

void plumb_jinja_count(struct plumb_jinja_value v)
{
    struct plumb_jinja_string *s = (struct plumb_jinja_string *)(uintptr_t)v.s;
    s->points = 0;
    for (size_t i = 0; i < s->n; i++)
        s->points += ((unsigned char)s->at[i] & 0xC0) != 0x80;
}

int plumb_jinja_string(struct plumb_jinja_pool *pool, const char *text, size_t n,
                       struct plumb_jinja_value *out)
{
    void *p;
    *out = plumb_jinja_undefined(NULL);
    PLUMB_TRY(plumb_jinja_take(pool, sizeof(struct plumb_jinja_string) + n + 1, &p));
    struct plumb_jinja_string *s = p;
    s->n = n;
    *out = (struct plumb_jinja_value){ .kind = PLUMB_JINJA_STRING, .s = s };
    if (!text) return PLUMB_OK;
    memcpy(s->at, text, n);
    plumb_jinja_count(*out);
    return PLUMB_OK;
}

int plumb_jinja_text(struct plumb_jinja_pool *pool, const char *text, struct plumb_jinja_value *out)
{
    return plumb_jinja_string(pool, text, strlen(text), out);
}

bool plumb_jinja_is_text(struct plumb_jinja_value v, const char *text)
{
    return v.kind == PLUMB_JINJA_STRING && v.s->n == strlen(text) && !memcmp(v.s->at, text, v.s->n);
}

int plumb_jinja_row(struct plumb_jinja_pool *pool, enum plumb_jinja_kind kind, int64_t room,
                    struct plumb_jinja_value *out)
{
    void *p, *at;
    *out = plumb_jinja_undefined(NULL);
    PLUMB_TRY(plumb_jinja_take(pool, sizeof(struct plumb_jinja_list), &p));
    PLUMB_TRY(plumb_jinja_take(pool, (size_t)room * sizeof(struct plumb_jinja_value), &at));
    struct plumb_jinja_list *l = p;
    l->room = room;
    l->at = at;
    *out = (struct plumb_jinja_value){ .kind = kind, .l = l };
    return PLUMB_OK;
}

int64_t plumb_jinja_weight(struct plumb_jinja_value v)
{
    switch (v.kind) {
    case PLUMB_JINJA_STRING: return 1 + (int64_t)(v.s->n / 64);
    case PLUMB_JINJA_LIST:
    case PLUMB_JINJA_TUPLE: return 1 + v.l->weight;
    case PLUMB_JINJA_DICT: return 1 + v.d->weight;
    default: return 1;
    }
}

/* Notes that a row or dict holds v. */
static int hold(int64_t *weight, int *depth, struct plumb_jinja_value v)
{
    const int within = v.kind == PLUMB_JINJA_DICT                                  ? v.d->depth + 1
                       : v.kind == PLUMB_JINJA_LIST || v.kind == PLUMB_JINJA_TUPLE ? v.l->depth + 1
                                                                                   : 0;
    *weight += plumb_jinja_weight(v);
    if (*weight > endless) *weight = endless;
    if (within > *depth) *depth = within;
    return within < NESTED ? PLUMB_OK : plumb_fail(PLUMB_EFORMAT, "a value nests too deep");
}

int plumb_jinja_push(struct plumb_jinja_pool *pool, struct plumb_jinja_value row,
                     struct plumb_jinja_value v)
{
    struct plumb_jinja_list *l = row.l;
    if (l->n == l->room) {
        const int64_t room = l->room < 4 ? 4 : 2 * l->room;
        void *at;
        PLUMB_TRY(plumb_jinja_take(pool, (size_t)room * sizeof *l->at, &at));
        if (l->n) memcpy(at, l->at, (size_t)l->n * sizeof *l->at);
        l->at = at;
        l->room = room;
    }
    l->at[l->n++] = v;
    return hold(&l->weight, &l->depth, v);
}

int plumb_jinja_dict(struct plumb_jinja_pool *pool, struct plumb_jinja_value *out)
{
    void *p;
    PLUMB_TRY(plumb_jinja_take(pool, sizeof(struct plumb_jinja_dict), &p));
    *out = (struct plumb_jinja_value){ .kind = PLUMB_JINJA_DICT, .d = p };
    return PLUMB_OK;
}

bool plumb_jinja_hashable(struct plumb_jinja_value v)
{
    if (v.kind == PLUMB_JINJA_LIST || v.kind == PLUMB_JINJA_DICT) return false;
    if (v.kind == PLUMB_JINJA_TUPLE && v.l->weight > KEY_WEIGHT) return false;
    for (int64_t i = 0; v.kind == PLUMB_JINJA_TUPLE && i < v.l->n; i++)
        if (!plumb_jinja_hashable(v.l->at[i])) return false;
    return true;
}

static uint64_t mixed(uint64_t h) { return (h ^ h >> 29) * 0x9e3779b97f4a7c15u; }

/* Equal values have equal hashes: 1, 1.0 and true are one key. */
static uint64_t hash_of(struct plumb_jinja_value v)
{
    uint64_t h = (uint64_t)v.kind + 17;
    if (plumb_jinja_is_number(v)) {
        const double x = plumb_jinja_number(v) + 0.0;
        memcpy(&h, &x, sizeof h);
    } else if (v.kind == PLUMB_JINJA_STRING) {
        for (size_t i = 0; i < v.s->n; i++)
            h = (h ^ (unsigned char)v.s->at[i]) * 0x100000001b3u;
    } else if (v.kind == PLUMB_JINJA_TUPLE) {
        for (int64_t i = 0; i < v.l->n; i++)
            h = mixed(h ^ hash_of(v.l->at[i]));
    } else if (v.kind == PLUMB_JINJA_OBJECT || v.kind == PLUMB_JINJA_STREAM) {
        h ^= (uintptr_t)v.o;
    }
    return mixed(h);
}

static int64_t where(const struct plumb_jinja_dict *d, struct plumb_jinja_value key, uint64_t hash)
{
    if (!d->slot) {
        for (int64_t i = 0; i < d->n; i++)
            if (d->at[i].hash == hash && plumb_jinja_equal(d->at[i].key, key)) return i;
        return -1;
    }
    for (uint64_t k = hash;; k++) {
        const int64_t i = d->slot[k % (uint64_t)d->slots] - 1;
        if (i < 0) return -1;
        if (d->at[i].hash == hash && plumb_jinja_equal(d->at[i].key, key)) return i;
    }
}

static void note(struct plumb_jinja_dict *d, int64_t i)
{
    uint64_t k = d->at[i].hash;
    while (d->slot[k % (uint64_t)d->slots])
        k++;
    d->slot[k % (uint64_t)d->slots] = (int32_t)i + 1;
}

static int grow(struct plumb_jinja_pool *pool, struct plumb_jinja_dict *d)
{
    const int64_t room = d->room < 4 ? 4 : 2 * d->room;
    void *at, *slot;
    if (room > INT32_MAX / 4) return plumb_fail(PLUMB_EMEM, "a dictionary of a template is full");
    PLUMB_TRY(plumb_jinja_take(pool, (size_t)room * sizeof *d->at, &at));
    if (d->n) memcpy(at, d->at, (size_t)d->n * sizeof *d->at);
    d->at = at;
    d->room = room;
    if (room <= SMALL) return PLUMB_OK;
    PLUMB_TRY(plumb_jinja_take(pool, (size_t)(2 * room) * sizeof *d->slot, &slot));
    d->slot = slot;
    d->slots = 2 * room;
    for (int64_t i = 0; i < d->n; i++)
        note(d, i);
    return PLUMB_OK;
}

int plumb_jinja_put(struct plumb_jinja_pool *pool, struct plumb_jinja_dict *d,
                    struct plumb_jinja_value key, struct plumb_jinja_value v)
{
    if (!plumb_jinja_hashable(key))
        return plumb_fail(PLUMB_EFORMAT, "a %s cannot be a key", plumb_jinja_type(key));
    const uint64_t hash = hash_of(key);
    const int64_t i = where(d, key, hash);
    pool->hashed += plumb_jinja_weight(key);
    PLUMB_TRY(hold(&d->weight, &d->depth, v));
    if (i >= 0) {
        d->at[i].value = v;
        return PLUMB_OK;
    }
    if (d->n == d->room) PLUMB_TRY(grow(pool, d));
    d->at[d->n] = (struct plumb_jinja_entry){ key, v, hash };
    if (d->slot) note(d, d->n);
    d->n++;
    return PLUMB_OK;
}

int plumb_jinja_put_text(struct plumb_jinja_pool *pool, struct plumb_jinja_dict *d, const char *key,
                         struct plumb_jinja_value v)
{
    struct plumb_jinja_value k;
    PLUMB_TRY(plumb_jinja_text(pool, key, &k));
    return plumb_jinja_put(pool, d, k, v);
}

const struct plumb_jinja_value *plumb_jinja_find(const struct plumb_jinja_dict *d,
                                                 struct plumb_jinja_value key)
{
    const int64_t i = plumb_jinja_hashable(key) ? where(d, key, hash_of(key)) : -1;
    return i < 0 ? NULL : &d->at[i].value;
}

const struct plumb_jinja_value *plumb_jinja_find_text(const struct plumb_jinja_dict *d,
                                                      const char *key)
{
    _Alignas(16) char room[sizeof(struct plumb_jinja_string) + 256];
    struct plumb_jinja_string *k = (struct plumb_jinja_string *)(void *)room;
    const size_t n = strlen(key);
    if (n >= 256) return NULL;
    k->n = n;
    memcpy(k->at, key, n + 1);
    return plumb_jinja_find(d, (struct plumb_jinja_value){ .kind = PLUMB_JINJA_STRING, .s = k });
}

int plumb_jinja_object(struct plumb_jinja_pool *pool, const struct plumb_jinja_class *class,
                       void *data, struct plumb_jinja_value *out)
{
    void *p;
    PLUMB_TRY(plumb_jinja_take(pool, sizeof(struct plumb_jinja_object), &p));
    *(struct plumb_jinja_object *)p = (struct plumb_jinja_object){ class, data };
    *out = (struct plumb_jinja_value){ .kind = PLUMB_JINJA_OBJECT, .o = p };
    return PLUMB_OK;
}

bool plumb_jinja_truth(struct plumb_jinja_value v)
{
    switch (v.kind) {
    case PLUMB_JINJA_UNDEFINED:
    case PLUMB_JINJA_NONE: return false;
    case PLUMB_JINJA_BOOL:
    case PLUMB_JINJA_INT: return plumb_jinja_integer(v) != 0;
    case PLUMB_JINJA_FLOAT: return v.f != 0;
    case PLUMB_JINJA_STRING: return v.s->n > 0;
    case PLUMB_JINJA_LIST:
    case PLUMB_JINJA_TUPLE: return v.l->n > 0;
    case PLUMB_JINJA_DICT: return v.d->n > 0;
    case PLUMB_JINJA_STREAM:
    case PLUMB_JINJA_OBJECT: return true;
    }
    return true;
}

static bool equal_dicts(const struct plumb_jinja_dict *a, const struct plumb_jinja_dict *b)
{
    bool same = a->n == b->n;
    for (int64_t i = 0; same && i < a->n; i++) {
        const int64_t j = where(b, a->at[i].key, a->at[i].hash);
        same = j >= 0 && plumb_jinja_equal(a->at[i].value, b->at[j].value);
    }
    return same;
}

bool plumb_jinja_equal(struct plumb_jinja_value a, struct plumb_jinja_value b)
{
    if (plumb_jinja_is_number(a) && plumb_jinja_is_number(b))
        return a.kind == PLUMB_JINJA_FLOAT || b.kind == PLUMB_JINJA_FLOAT
                   ? plumb_jinja_number(a) == plumb_jinja_number(b)
                   : plumb_jinja_integer(a) == plumb_jinja_integer(b);
    if (a.kind != b.kind) return false;
    switch (a.kind) {
    case PLUMB_JINJA_STRING: return a.s->n == b.s->n && !memcmp(a.s->at, b.s->at, a.s->n);
    case PLUMB_JINJA_LIST:
    case PLUMB_JINJA_TUPLE:
        if (a.l->n != b.l->n) return false;
        for (int64_t i = 0; i < a.l->n; i++)
            if (!plumb_jinja_equal(a.l->at[i], b.l->at[i])) return false;
        return true;
    case PLUMB_JINJA_DICT: return equal_dicts(a.d, b.d);
    case PLUMB_JINJA_STREAM: return a.l == b.l;
    case PLUMB_JINJA_OBJECT: return a.o == b.o;
    default: return true; /* undefined and none */
    }
}

const char *plumb_jinja_type(struct plumb_jinja_value v)
{
    static const char *const names[] = { "undefined value", "None", "bool", "int",
                                         "float",           "str",  "list", "tuple",
                                         "generator",       "dict" };
    return v.kind == PLUMB_JINJA_OBJECT ? v.o->class->name : names[v.kind];
}

int plumb_jinja_write(struct plumb_jinja_out *o, const char *text, size_t n)
{
    if (o->room - o->n < n) {
        const size_t room = 2 * o->room > o->n + n ? 2 * o->room : o->n + n + 64;
        void *at;
        PLUMB_TRY(plumb_jinja_take(o->pool, room, &at));
        if (o->n) memcpy(at, o->at, o->n);
        o->at = at;
        o->room = room;
    }
    if (n) memcpy(o->at + o->n, text, n);
    o->n += n;
    return PLUMB_OK;
}

int plumb_jinja_write_text(struct plumb_jinja_out *o, const char *text)
{
    return plumb_jinja_write(o, text, strlen(text));
}

int plumb_jinja_written(const struct plumb_jinja_out *o, struct plumb_jinja_value *out)
{
    return plumb_jinja_string(o->pool, o->n ? o->at : "", o->n, out);
}
