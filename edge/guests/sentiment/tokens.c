#include "tokens.h"

#include "../abi/chimera.h"
#include "../abi/utf8.h"
#include "letters.h"
#include "lexicon.h"

enum { SHORTEST_STRIPPED = 3 }; /* what punctuation leaves shorter than this is an emoticon, not a word */

typedef struct {
    uint8_t *bytes;
    uint32_t length;
} string;

static const uint8_t *describe(uint32_t point, uint32_t *length) {
    return point < 0x80 ? NULL : emoji_description(point, length);
}

static uint32_t described_length(const uint8_t *text, const uint8_t *end) {
    uint32_t total = 0;
    while (text < end) {
        uint32_t point, words, size = utf8_read(text, end, &point);
        total += describe(point, &words) ? words + 1 : size;
        text += size;
    }
    return total;
}

static void append(string *target, const uint8_t *bytes, uint32_t length) {
    __builtin_memcpy(target->bytes + target->length, bytes, length);
    target->length += length;
}

/* Replaces each emoji by the words for what it depicts, set off from what stands before it. */
static bool describe_emojis(const uint8_t *text, uint32_t length, string *described) {
    const uint8_t *end = text + length;
    bool after_space = true;
    *described = (string){arena_take(described_length(text, end)), 0};
    if (!described->bytes) return false;
    while (text < end) {
        uint32_t point, words_length, size = utf8_read(text, end, &point);
        const uint8_t *words = describe(point, &words_length);
        if (words && !after_space) append(described, (const uint8_t *)" ", 1);
        append(described, words ? words : text, words ? words_length : size);
        after_space = point == ' ';
        text += size;
    }
    return true;
}

/* The next run of characters that are no spaces: moves `at` behind it. Empty only at the end. */
static string next_word(uint8_t **at, uint8_t *end) {
    uint32_t point, size;
    while (*at < end && (size = utf8_read(*at, end, &point), is_space(point))) *at += size;
    string word = {*at, 0};
    while (*at < end && (size = utf8_read(*at, end, &point), !is_space(point))) *at += size;
    word.length = (uint32_t)(*at - word.bytes);
    return word;
}

static uint32_t count_words(string text) {
    uint32_t count = 0;
    for (uint8_t *at = text.bytes; next_word(&at, text.bytes + text.length).length;) count++;
    return count;
}

static uint32_t count_byte(string text, uint8_t wanted) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < text.length; i++) count += text.bytes[i] == wanted;
    return count;
}

static uint32_t count_points(string text) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < text.length; i++) count += (text.bytes[i] & 0xc0) != 0x80;
    return count;
}

/* A word without the punctuation around it; an emoticon as it is. */
static string strip_punctuation(string word) {
    string bare = word;
    while (bare.length && is_punctuation(bare.bytes[0])) bare.bytes++, bare.length--;
    while (bare.length && is_punctuation(bare.bytes[bare.length - 1])) bare.length--;
    return count_points(bare) < SHORTEST_STRIPPED ? word : bare;
}

/* Makes capitals small where they stand. True if the word had capitals and nothing else that has case. */
static bool lower_case(string word) {
    bool capital = false, small = false;
    uint8_t *end = word.bytes + word.length;
    for (uint8_t *at = word.bytes; at < end;) {
        uint32_t point, size = utf8_read(at, end, &point);
        capital |= is_capital(point);
        small |= is_small(point);
        utf8_write(at, to_lower(point));
        at += size;
    }
    return capital && !small;
}

static token make_token(const uint8_t *bytes, uint32_t start, uint32_t length, bool capitals) {
    uint32_t hash = lexicon_hash(bytes + start, length);
    word_entry entry = lexicon_find(bytes + start, length, hash);
    return (token){.start = start, .length = length, .hash = hash, .flags = entry.flags, .capitals = capitals,
                   .valence = entry.valence};
}

bool tokenise(const uint8_t *text, uint32_t length, token_list *list) {
    string source;
    if (!describe_emojis(text, length, &source)) return false;
    *list = (token_list){.bytes = source.bytes, .exclamations = count_byte(source, '!'),
                         .questions = count_byte(source, '?')};
    list->tokens = arena_take(count_words(source) * sizeof(token));
    if (!list->tokens) return false;
    uint32_t written = 0, shouted = 0; /* the words move to the front of the text they were cut from */
    uint8_t *at = source.bytes, *end = source.bytes + source.length;
    for (string word; (word = next_word(&at, end)).length; list->count++) {
        word = strip_punctuation(word);
        bool capitals = lower_case(word);
        if (written) source.bytes[written++] = ' ';
        __builtin_memmove(source.bytes + written, word.bytes, word.length);
        list->tokens[list->count] = make_token(source.bytes, written, word.length, capitals);
        written += word.length;
        shouted += capitals;
    }
    list->mixed_case = shouted > 0 && shouted < list->count;
    return true;
}
