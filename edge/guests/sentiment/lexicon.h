/* What is known about words: valences, boosters, negations, idioms, function words, and what an emoji depicts.
 * The tables are data made by edge/guests/tables.py. */
#ifndef LEXICON_H
#define LEXICON_H

#include <stdbool.h>
#include <stdint.h>

typedef enum {
    WORD_RATED = 1,    /* has a human-rated valence */
    WORD_BOOSTS = 2,   /* strengthens what follows */
    WORD_DAMPENS = 4,  /* weakens what follows */
    WORD_NEGATES = 8,  /* turns what follows around */
    WORD_IDIOM = 16,   /* several words that together have a valence of their own */
    WORD_FUNCTION = 32 /* grammar only: never a word of a domain */
} word_flags;

typedef struct {
    double valence; /* -4 (most negative) to 4; 0 for words that are not rated */
    uint8_t flags;  /* of word_flags; 0 = unknown */
} word_entry;

/* FNV-1a, 32 bits: finds the word's bucket, and its gene of the domain vector. */
uint32_t lexicon_hash(const uint8_t *word, uint32_t length);

/* The entry of a lower-cased word, or of words joined by single spaces. `hash` is its lexicon_hash. */
word_entry lexicon_find(const uint8_t *word, uint32_t length, uint32_t hash);

/* The words that describe an emoji (UTF-8, `length` bytes), or NULL if the code point is none. */
const uint8_t *emoji_description(uint32_t point, uint32_t *length);

#endif
