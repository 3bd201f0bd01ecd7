/* How groups are dealt out, on CPUs and devices: by the width of a group and, for the sums over
 * rows, by the number of rows; never by the number of threads or processors. */
#pragma once
#include <plumb/norm.h>

/* CPU: a block of rows leaves one partial row of dw (and db). */
enum { PLUMB_NORM_BLOCK_ROWS = 32 };

static inline int64_t plumb_norm_blocks(const struct plumb_norm *a)
{
    return (a->N + PLUMB_NORM_BLOCK_ROWS - 1) / PLUMB_NORM_BLOCK_ROWS;
}

/* Devices: a team of threads holds a group in registers, PLUMB_NORM_HELD elements a thread; wider
 * groups go through the widest team in pieces. */
enum {
    PLUMB_NORM_HELD = 16,
    PLUMB_NORM_TEAM = 512,    /* threads of the widest team */
    PLUMB_NORM_PIECE = 8192,  /* columns that it holds */
    PLUMB_NORM_THREADS = 256, /* of a block of smaller teams */
    PLUMB_NORM_PARTS = 264    /* most blocks that leave a partial row of dw and db */
};

/* Threads of a team: a power of two inside a warp, else whole warps. */
static inline int plumb_norm_team(int64_t D)
{
    const int64_t wanted = (D + PLUMB_NORM_HELD - 1) / PLUMB_NORM_HELD;
    if (wanted >= PLUMB_NORM_TEAM) return PLUMB_NORM_TEAM;
    if (wanted > 32) return (int)(wanted + 31) / 32 * 32;
    int team = 1;
    while (team < wanted)
        team *= 2;
    return team;
}

static inline int plumb_norm_teams(int64_t D) /* of a block */
{
    const int team = plumb_norm_team(D);
    return team < PLUMB_NORM_THREADS ? PLUMB_NORM_THREADS / team : 1;
}

static inline bool plumb_norm_is_held(int64_t D)
{
    return D <= PLUMB_NORM_PIECE;
}

/* Blocks of the backward pass, each with an equal share of the groups: many rows a block keep the
 * partial rows a small part of the traffic. */
static inline int64_t plumb_norm_parts(const struct plumb_norm *a)
{
    const int64_t groups = a->N * a->G, some = 4 * plumb_norm_teams(a->D);
    const int64_t least = some > 32 ? some : 32, most = PLUMB_NORM_PARTS;
    const int64_t parts = (groups + least - 1) / least;
    return parts < most ? parts : most;
}
