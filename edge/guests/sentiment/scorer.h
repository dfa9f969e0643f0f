/* Hutto & Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM 2014:
 * the rules, with the genome as their constants. */
#ifndef SCORER_H
#define SCORER_H

#include "tokens.h"

typedef struct {
    double compound; /* -1 to 1 */
    double positive; /* shares of the text; the three add up to 1, or are 0 for a text without words */
    double neutral;
    double negative;
} score;

/* Scores a text; fills in the tokens' sentiments on the way. */
score score_tokens(token_list *list);

#endif
