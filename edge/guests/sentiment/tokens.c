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

/* Length with each emoji replaced by a space and its description; 0 if there is no emoji. */
static uint32_t described_length(const uint8_t *text, const uint8_t *end) {
    uint32_t total = 0, emojis = 0;
    while (text < end) {
        uint32_t point, words, size = utf8_read(text, end, &point);
        bool emoji = describe(point, &words);
        total += emoji ? words + 1 : size;
        emojis += emoji;
        text += size;
    }
    return emojis ? total : 0;
}

static void append(string *target, const uint8_t *bytes, uint32_t length) {
    __builtin_memcpy(target->bytes + target->length, bytes, length);
    target->length += length;
}

/* Replaces each emoji by the words for what it depicts, set off from what stands before it. */
static bool describe_emojis(string *text) {
    const uint8_t *at = text->bytes, *end = at + text->length;
    uint32_t length = described_length(at, end);
    if (!length) return true;
    *text = (string){arena_take(length), 0};
    if (!text->bytes) return false;
    for (bool after_space = true; at < end;) {
        uint32_t point, words_length, size = utf8_read(at, end, &point);
        const uint8_t *words = describe(point, &words_length);
        if (words && !after_space) append(text, (const uint8_t *)" ", 1);
        append(text, words ? words : at, words ? words_length : size);
        after_space = point == ' ';
        at += size;
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

/* Writes the word with small letters to `target`, which may be before it in the same text. True if it had capitals and
 * nothing else that has case. */
static bool lower_case(string word, uint8_t *target) {
    bool capital = false, small = false;
    const uint8_t *end = word.bytes + word.length;
    for (const uint8_t *at = word.bytes; at < end;) {
        uint32_t point;
        at += utf8_read(at, end, &point);
        capital |= is_capital(point);
        small |= is_small(point);
        target += utf8_write(target, to_lower(point));
    }
    return capital && !small;
}

static token make_token(const uint8_t *bytes, uint32_t start, uint32_t length, bool capitals) {
    uint32_t hash = lexicon_hash(bytes + start, length);
    word_entry entry = lexicon_find(bytes + start, length, hash);
    return (token){.start = start, .length = length, .hash = hash, .flags = entry.flags, .capitals = capitals,
                   .valence = entry.valence};
}

/* Moves the words to the front of the text they are cut from, one space apart, and lists them. */
static bool list_words(string text, token_list *list) {
    uint32_t written = 0, shouted = 0;
    uint8_t *at = text.bytes, *end = text.bytes + text.length;
    for (string word; (word = next_word(&at, end)).length; list->count++) {
        token *next = arena_take(sizeof(token));
        if (!next) return false;
        word = strip_punctuation(word);
        if (written) text.bytes[written++] = ' ';
        bool capitals = lower_case(word, text.bytes + written);
        *next = make_token(text.bytes, written, word.length, capitals);
        written += word.length;
        shouted += capitals;
    }
    list->mixed_case = shouted > 0 && shouted < list->count;
    return true;
}

bool tokenise(uint8_t *bytes, uint32_t length, token_list *list) {
    string text = {bytes, length};
    if (!describe_emojis(&text)) return false;
    *list = (token_list){.bytes = text.bytes, .tokens = arena_take(0), .exclamations = count_byte(text, '!'),
                         .questions = count_byte(text, '?')};
    return list_words(text, list);
}

_Static_assert(sizeof(token) % 8 == 0, "tokens are taken from scratch memory one by one and must form an array");
