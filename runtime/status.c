/* Versions; faults: a code and a thread-local text. */
#include <plumb/base.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char message[2048];

const char *plumb_version(void) { return PLUMB_VERSION; }
int plumb_abi_version(void) { return PLUMB_ABI; }

int plumb_fail(int code, const char *fmt, ...)
{
    char text[sizeof message]; /* the arguments may be the old message */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    memcpy(message, text, sizeof message);
    return code;
}

int plumb_fail_while(int code, const char *fmt, ...)
{
    char what[512], old[sizeof message];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    memcpy(old, message, sizeof old);
    if (snprintf(message, sizeof message, "%s: %s", what, old) >= (int)sizeof message)
        message[sizeof message - 1] = 0;
    return code;
}

const char *plumb_errmsg(void) { return message; }
void plumb_errclear(void) { message[0] = 0; }

const char *plumb_status_text(int code)
{
    switch (code) {
#define X(name, value, text)                                                                       \
    case value: return text;
        PLUMB_STATUS_LIST(X)
#undef X
    }
    return "unknown status";
}

void plumb_assert_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "plumb: %s:%d: broken invariant: %s\n", file, line, what);
    abort();
}
