/* A text as the rules see it: lower-cased words, and what its writing says (capitals, exclamation and question marks). */
#ifndef TOKENS_H
#define TOKENS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint32_t start; /* first byte in token_list.bytes */
    uint32_t length;
    uint32_t hash; /* lexicon_hash of the lower-cased word */
    uint8_t flags; /* of word_flags */
    bool capitals; /* has capitals and no small letters */
    double valence;   /* of the lexicon */
    double sentiment; /* what the rules make of it; set by the scorer */
} token;

typedef struct {
    const uint8_t *bytes; /* the lower-cased words, one space between neighbours: n-grams are runs of it */
    token *tokens;
    uint32_t count;
    uint32_t exclamations;
    uint32_t questions;
    bool mixed_case; /* some words are in capitals and some are not: then capitals mean emphasis */
} token_list;

/* Splits `text` (valid UTF-8 in scratch memory), which is used up by it. The list lives in scratch memory too, where
 * nothing else may be taken meanwhile. False if there is not enough of it. */
bool tokenise(uint8_t *text, uint32_t length, token_list *list);

#endif
