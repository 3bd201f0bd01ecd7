/* Copies between the host and a device with memory of its own. */
#include "runtime/transfer.h"

static size_t bytes_of(struct plumb_tensor t, int64_t count)
{
    return (size_t)count * plumb_dtype_bytes(t.dtype);
}

int plumb_twin(struct plumb_arena *arena, struct plumb_tensor t, int64_t count,
               struct plumb_tensor *host)
{
    *host = t;
    if (plumb_device_is_host(&arena->dev)) return PLUMB_OK;
    return plumb_arena_push(arena, bytes_of(t, count), &host->data);
}

int plumb_twin_send(struct plumb_arena *arena, struct plumb_tensor host, struct plumb_tensor t,
                    int64_t count)
{
    const size_t bytes = bytes_of(t, count);
    void *there = plumb_arena_mirror(arena, host.data);
    if (!there || plumb_device_is_host(&arena->dev)) return PLUMB_OK;
    PLUMB_TRY(plumb_device_upload_ahead(&arena->dev, there, host.data, bytes));
    return plumb_device_copy(&arena->dev, t.data, there, bytes);
}

int plumb_twin_fetch(struct plumb_arena *arena, struct plumb_tensor t, struct plumb_tensor host,
                     int64_t count)
{
    if (arena->counting) return PLUMB_OK;
    return plumb_device_download_later(&arena->dev, host.data, t.data, bytes_of(t, count));
}

int plumb_twin_of(struct plumb_arena *arena, struct plumb_tensor t, int64_t count,
                  struct plumb_tensor *host)
{
    PLUMB_TRY(plumb_twin(arena, t, count, host));
    return plumb_twin_fetch(arena, t, *host, count);
}

int plumb_ints_send(struct plumb_arena *arena, int32_t *host, int64_t count, const int32_t **out)
{
    void *there = plumb_arena_mirror(arena, host);
    *out = there;
    if (!there || there == host) return PLUMB_OK;
    return plumb_device_upload_ahead(&arena->dev, there, host, (size_t)count * sizeof *host);
}

int plumb_stage_open(struct plumb_stage *s, const struct plumb_device *dev, struct plumb_tensor t,
                     int64_t count, bool fetch)
{
    *s = (struct plumb_stage){ .dev = *dev, .t = t, .host = t, .count = count };
    if (plumb_device_is_host(dev)) return PLUMB_OK;
    PLUMB_TRY(plumb_arena_init(&s->memory, "staging", bytes_of(t, count)));
    PLUMB_TRY(plumb_arena_push(&s->memory, bytes_of(t, count), &s->host.data));
    return fetch ? plumb_device_download(dev, s->host.data, t.data, bytes_of(t, count)) : PLUMB_OK;
}

int plumb_stage_send(struct plumb_stage *s)
{
    PLUMB_TRY(plumb_device_upload(&s->dev, s->t.data, s->host.data, bytes_of(s->t, s->count)));
    return plumb_device_sync(&s->dev);
}

void plumb_stage_release(struct plumb_stage *s)
{
    plumb_arena_release(&s->memory);
    *s = (struct plumb_stage){ 0 };
}
