/* Messages to people, on standard error. Levels: PLUMB_LOG_WARN is always shown, PLUMB_LOG_INFO
 * unless --quiet. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

enum plumb_log_level { PLUMB_LOG_DEBUG, PLUMB_LOG_INFO, PLUMB_LOG_WARN };
typedef void plumb_log_fn(void *ctx, enum plumb_log_level level, const char *text);

void plumb_log(enum plumb_log_level level, const char *fmt, ...) PLUMB_PRINTF(2, 3);
void plumb_log_threshold(enum plumb_log_level lowest_shown);
/* Replaces the receiver (NULL restores standard error). */
void plumb_log_receiver(plumb_log_fn *fn, void *ctx);

PLUMB_END_C
