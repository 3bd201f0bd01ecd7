/* Byte-level vocabularies write each byte as a printable character. Source: GPT-2, src/encoder.py:
 * bytes that are printable in Latin-1 stand for themselves, the others for U+0100 onwards. */
#include "io/tok.h"
#include "io/utf8.h"

static bool printable(int byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
}

/* How many bytes below this one are not printable: 0 to 32, 127 to 160, 173. */
static int hidden_below(int byte)
{
    return byte <= ' ' ? byte : byte <= 0x7F ? 33 : byte <= 0xA0 ? 33 + byte - 0x7F : 67;
}

static int32_t mapped(int byte) { return printable(byte) ? byte : 0x100 + hidden_below(byte); }

int plumb_tok_map_bytes(struct plumb_tok_bytes *out, const char *s, size_t n)
{
    PLUMB_TRY(plumb_tok_grow(&out->data, &out->capacity, out->n + 2 * n, 1));
    for (size_t i = 0; i < n; i++)
        out->n += plumb_utf8_put(out->data + out->n, mapped((unsigned char)s[i]));
    return PLUMB_OK;
}

int plumb_tok_map_byte(struct plumb_tok_work *w, struct plumb_tok_bytes *out, const char *s)
{
    char bytes[4];
    return plumb_tok_put_for(w, out, bytes, plumb_utf8_put(bytes, mapped((unsigned char)*s)), s, 1);
}

int plumb_tok_unmap(int32_t cp)
{
    if (cp >= 0 && cp < 0x100) return printable(cp) ? cp : -1;
    const int hidden = cp - 0x100;
    return hidden < 0 || hidden > 67 ? -1
           : hidden <= ' '           ? hidden
           : hidden < 67             ? 0x7F + hidden - 33
                                     : 0xAD;
}
