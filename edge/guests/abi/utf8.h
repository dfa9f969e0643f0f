/* UTF-8, strictly after RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef UTF8_H
#define UTF8_H

#include <stdint.h>

enum { UTF8_REPLACEMENT = 0xfffd };

/* Reads one code point at `at` (which is before `end`). Returns its length in bytes, 0 if the bytes are not UTF-8. */
static inline uint32_t utf8_read(const uint8_t *at, const uint8_t *end, uint32_t *point) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t lead = *at;
    *point = lead;
    if (lead < 0x80) return 1;
    uint32_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || (uint32_t)(end - at) < length) return 0;
    *point = lead & (0x7fu >> length);
    for (uint32_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
        *point = *point << 6 | (at[i] & 0x3f);
    }
    if (*point < smallest[length] || *point > 0x10ffff || (*point >= 0xd800 && *point < 0xe000)) return 0;
    return length;
}

/* Writes a valid code point to `out` (room for 4 bytes). Returns how many bytes it took. */
static inline uint32_t utf8_write(uint8_t *out, uint32_t point) {
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    uint32_t length = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (uint32_t i = length - 1; i > 0; i--, point >>= 6) out[i] = (uint8_t)(0x80 | (point & 0x3f));
    out[0] = (uint8_t)((0xf00u >> length & 0xff) | point);
    return length;
}

#endif
