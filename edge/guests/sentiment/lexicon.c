#include "lexicon.h"

#include <stddef.h>

enum { BUCKETS = 4096, HEADER = 3 }; /* as in edge/guests/tables.py */

/* Words in order of bucket. Each: length, flags, valence in tenths (signed), the bytes. */
static const uint8_t words[] = {
#embed "words.bin"
};

/* Start of each bucket in `words`, and one more for the end: BUCKETS + 1 numbers of 32 bits. */
static const uint8_t bucket_starts[] = {
#embed "buckets.bin"
};

/* Code points of emojis in ascending order, 32 bits each. */
static const uint8_t emoji_points[] = {
#embed "emoji_points.bin"
};

/* Start of each description in `emoji_text`, and one more for the end: 16 bits each. */
static const uint8_t emoji_starts[] = {
#embed "emoji_starts.bin"
};

static const uint8_t emoji_text[] = {
#embed "emoji_text.bin"
};

static uint32_t read32(const uint8_t *table, uint32_t index) {
    uint32_t value;
    __builtin_memcpy(&value, table + 4 * index, 4);
    return value;
}

static uint32_t read16(const uint8_t *table, uint32_t index) {
    uint16_t value;
    __builtin_memcpy(&value, table + 2 * index, 2);
    return value;
}

uint32_t lexicon_hash(const uint8_t *word, uint32_t length) {
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < length; i++) hash = (hash ^ word[i]) * 16777619u;
    return hash;
}

static bool same_bytes(const uint8_t *left, const uint8_t *right, uint32_t length) {
    for (uint32_t i = 0; i < length; i++)
        if (left[i] != right[i]) return false;
    return true;
}

word_entry lexicon_find(const uint8_t *word, uint32_t length, uint32_t hash) {
    uint32_t bucket = hash % BUCKETS;
    const uint8_t *at = words + read32(bucket_starts, bucket), *end = words + read32(bucket_starts, bucket + 1);
    for (; at < end; at += HEADER + at[0])
        if (at[0] == length && same_bytes(at + HEADER, word, length)) return (word_entry){(int8_t)at[2] / 10.0, at[1]};
    return (word_entry){0, 0};
}

const uint8_t *emoji_description(uint32_t point, uint32_t *length) {
    uint32_t low = 0, high = sizeof emoji_points / 4;
    if (point < read32(emoji_points, 0)) return NULL;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (read32(emoji_points, middle) <= point)
            low = middle;
        else
            high = middle;
    }
    if (read32(emoji_points, low) != point) return NULL;
    uint32_t start = read16(emoji_starts, low);
    *length = read16(emoji_starts, low + 1) - start;
    return emoji_text + start;
}
