/* Between the host and a device with memory of its own. On cpu and ref a twin is the tensor itself
 * and nothing is copied, so the code above has one path. */
#pragma once
#include <plumb/arena.h>
#include <plumb/device.h>

/* Host memory, in `arena`, for the values of t (count of them). */
int plumb_twin(struct plumb_arena *arena, struct plumb_tensor t, int64_t count,
               struct plumb_tensor *host);
/* t = host, sent ahead to the host's mirror; and host = t, complete after the next
 * plumb_device_sync. */
int plumb_twin_send(struct plumb_arena *arena, struct plumb_tensor host, struct plumb_tensor t,
                    int64_t count);
int plumb_twin_fetch(struct plumb_arena *arena, struct plumb_tensor t, struct plumb_tensor host,
                     int64_t count);
/* A twin that is already on its way: plumb_twin and plumb_twin_fetch. */
int plumb_twin_of(struct plumb_arena *arena, struct plumb_tensor t, int64_t count,
                  struct plumb_tensor *host);
/* *out = the device's copy of `count` integers that lie in the arena's host side, sent ahead. */
int plumb_ints_send(struct plumb_arena *arena, int32_t *host, int64_t count, const int32_t **out);

/* Host memory for a long tensor, outside the arenas: for files. */
struct plumb_stage {
    struct plumb_device dev;
    struct plumb_arena memory;
    struct plumb_tensor t, host; /* the same on cpu and ref */
    int64_t count;
};
/* s->host holds t's values when `fetch`, else it is undefined. Release also after failure. */
int plumb_stage_open(struct plumb_stage *s, const struct plumb_device *dev, struct plumb_tensor t,
                     int64_t count, bool fetch);
int plumb_stage_send(struct plumb_stage *s); /* t = s->host; complete on return */
void plumb_stage_release(struct plumb_stage *s);
