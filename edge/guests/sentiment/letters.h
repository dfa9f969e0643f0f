/* Character classes as the rules need them. Case is known for ASCII, Latin-1, Latin Extended-A, Greek and Cyrillic;
 * all other letters count as having none. */
#ifndef LETTERS_H
#define LETTERS_H

#include <stdbool.h>
#include <stdint.h>

/* Unicode's White_Space, and the four ASCII separators U+001C to U+001F. */
static inline bool is_space(uint32_t c) {
    if (c > ' ' && c < 0x85) return false; /* nearly all characters */
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static inline bool is_punctuation(uint8_t c) {
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

/* In Latin Extended-A capitals and small letters alternate; the parity of capitals changes twice. */
static inline bool is_paired_capital(uint32_t c) {
    bool odd = (c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e);
    bool even = (c >= 0x100 && c <= 0x137) || (c >= 0x14a && c <= 0x177);
    return (odd && c % 2 == 1) || (even && c % 2 == 0);
}

/* The small letter of a capital of the same encoded length; anything else is returned as it is. */
static inline uint32_t to_lower(uint32_t c) {
    if (c >= 'A' && c <= 'Z') return c + 32;
    if (c < 0xc0) return c;
    if (c <= 0xde) return c == 0xd7 ? c : c + 32;
    if (c == 0x130) return c; /* its small form is two code points */
    if (c == 0x178) return 0xff;
    if (is_paired_capital(c)) return c + 1;
    if (c >= 0x391 && c <= 0x3a9) return c == 0x3a2 ? c : c + 32;
    if (c >= 0x400 && c <= 0x40f) return c + 80;
    if (c >= 0x410 && c <= 0x42f) return c + 32;
    return c;
}

static inline bool is_capital(uint32_t c) { return c == 0x130 || to_lower(c) != c; }

static inline bool is_small(uint32_t c) {
    if (c < 0x80) return c >= 'a' && c <= 'z';
    if (c <= 0xff) return c == 0xaa || c == 0xb5 || c == 0xba || (c >= 0xdf && c != 0xf7);
    if (c <= 0x17f) return !is_capital(c);
    return (c >= 0x3ac && c <= 0x3ce) || (c >= 0x430 && c <= 0x45f);
}

#endif
