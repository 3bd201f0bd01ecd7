/* Messages to people. */
#include <plumb/log.h>
#include <stdarg.h>
#include <stdio.h>

static enum plumb_log_level threshold = PLUMB_LOG_INFO;
static plumb_log_fn *receiver;
static void *receiver_ctx;

void plumb_log_threshold(enum plumb_log_level lowest_shown) { threshold = lowest_shown; }

void plumb_log_receiver(plumb_log_fn *fn, void *ctx)
{
    receiver = fn;
    receiver_ctx = ctx;
}

void plumb_log(enum plumb_log_level level, const char *fmt, ...)
{
    if (level < threshold) return;
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (receiver)
        receiver(receiver_ctx, level, text);
    else
        fprintf(stderr, "%s%s\n", level == PLUMB_LOG_WARN ? "warning: " : "", text);
}
