/* UTF-8, one character at a time; never reads past the n bytes given. */
#pragma once
#include <plumb/base.h>

/* Bytes (1 to 4) of the character at s, of which n > 0 bytes are readable. *cp is its code point,
 * or -1 where no valid character starts (overlong forms, surrogates and numbers over 0x10FFFF are
 * invalid); the length is then 1. */
size_t plumb_utf8_next(const char *s, size_t n, int32_t *cp);
/* Writes the 1 to 4 bytes of a valid code point. */
size_t plumb_utf8_put(char *out, int32_t cp);
/* Length of the longest prefix of s that is valid UTF-8: n when all of it is. */
size_t plumb_utf8_valid(const char *s, size_t n);
/* Length (1 to 3) of the invalid sequence at s that one U+FFFD stands for, as Unicode 15 section
 * 3.9 and Rust's lossy conversion count: the longest prefix of a character, else one byte. */
size_t plumb_utf8_bad(const char *s, size_t n);
