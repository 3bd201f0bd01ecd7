/* UTF-8, one character at a time. */
#include "io/utf8.h"
#include <string.h>

/* What may follow a lead byte: the length of its character and the bounds of the second byte (0 =
 * not a lead byte). */
static int lead(unsigned char c, unsigned char *low, unsigned char *high)
{
    *low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    *high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    return c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
}

/* How many bytes at s agree with one character; equals *length when it is whole. */
static size_t agreeing(const char *s, size_t n, size_t *length)
{
    unsigned char low, high;
    *length = (size_t)lead((unsigned char)s[0], &low, &high);
    size_t i = 1;
    for (; i < *length && i < n; i++, low = 0x80, high = 0xBF)
        if ((unsigned char)s[i] < low || (unsigned char)s[i] > high) break;
    return i;
}

size_t plumb_utf8_next(const char *s, size_t n, int32_t *cp)
{
    const unsigned char c = (unsigned char)s[0];
    if (c < 0x80) {
        *cp = c;
        return 1;
    }
    size_t length;
    if (agreeing(s, n, &length) != length) {
        *cp = -1;
        return 1;
    }
    int32_t value = c & (0x7F >> length);
    for (size_t i = 1; i < length; i++)
        value = value << 6 | (s[i] & 0x3F);
    *cp = value;
    return length;
}

size_t plumb_utf8_put(char *out, int32_t cp)
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    const size_t length = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, cp >>= 6)
        out[i] = (char)(0x80 | (cp & 0x3F));
    out[0] = (char)(0xF00 >> length | cp);
    return length;
}

size_t plumb_utf8_valid(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n) {
        uint64_t eight;
        if (i + 8 <= n && (memcpy(&eight, s + i, 8), !(eight & 0x8080808080808080u))) {
            i += 8;
            continue;
        }
        size_t length;
        if (agreeing(s + i, n - i, &length) != length) return i;
        i += length;
    }
    return n;
}

size_t plumb_utf8_bad(const char *s, size_t n)
{
    size_t length;
    return agreeing(s, n, &length);
}
