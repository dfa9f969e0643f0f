#include "scorer.h"

#include <stddef.h>

#include "genome.h"
#include "lexicon.h"

enum { WINDOW = 3, SHORTEST_DOMAIN_WORD = 3, MOST_QUESTIONS = 3 };

static bool is(const token_list *list, uint32_t i, const char *word) {
    const token *it = &list->tokens[i];
    for (uint32_t k = 0; k < it->length; k++)
        if (!word[k] || list->bytes[it->start + k] != (uint8_t)word[k]) return false;
    return word[it->length] == 0;
}

/* True if `word` stands `back` words before word i. */
static bool before(const token_list *list, uint32_t i, uint32_t back, const char *word) {
    return i >= back && is(list, i - back, word);
}

static bool contains_nt(const token_list *list, uint32_t i) {
    const uint8_t *word = list->bytes + list->tokens[i].start;
    for (uint32_t k = 0; k + 2 < list->tokens[i].length; k++)
        if (word[k] == 'n' && word[k + 1] == '\'' && word[k + 2] == 't') return true;
    return false;
}

static bool negates(const token_list *list, uint32_t i) {
    return list->tokens[i].flags & WORD_NEGATES || contains_nt(list, i);
}

static bool is_rated(const token_list *list, uint32_t i) { return list->tokens[i].flags & WORD_RATED; }

static bool is_modifier(const token_list *list, uint32_t i) {
    return list->tokens[i].flags & (WORD_BOOSTS | WORD_DAMPENS) ||
           (is(list, i, "kind") && i + 1 < list->count && is(list, i + 1, "of"));
}

static double away_from_zero(double valence, double by) { return valence > 0 ? valence + by : valence - by; }

static bool is_emphasised(const token_list *list, uint32_t i) { return list->tokens[i].capitals && list->mixed_case; }

/* The gene that corrects a word in this domain. Words that only carry grammar have none. */
static double domain_correction(const token_list *list, uint32_t i) {
    const token *it = &list->tokens[i];
    uint8_t first = list->bytes[it->start];
    bool word = it->length >= SHORTEST_DOMAIN_WORD && ((first >= 'a' && first <= 'z') || first >= 0x80);
    if (!(it->flags & WORD_RATED) && (!word || it->flags || contains_nt(list, i))) return 0;
    return genome[GENE_DOMAIN + it->hash % GENE_DOMAIN_COUNT];
}

static double booster_step(uint8_t flags) {
    if (flags & WORD_BOOSTS) return genome[GENE_BOOSTER_INCREMENT];
    return flags & WORD_DAMPENS ? genome[GENE_BOOSTER_DECREMENT] : 0;
}

/* What a booster or dampener adds to the valence of a word after it. */
static double boost(const token_list *list, uint32_t i, double valence) {
    uint8_t flags = list->tokens[i].flags;
    if (!(flags & (WORD_BOOSTS | WORD_DAMPENS))) return 0;
    double step = booster_step(flags);
    if (valence < 0) step = -step;
    return is_emphasised(list, i) ? step + (valence > 0 ? 1 : -1) * genome[GENE_CAPITALS_INCREMENT] : step;
}

/* "Never so good" is praise. The reference lets "so" and "this" right before the word count without a "never" if
 * three words stand before it; its published figures contain that, so it is kept. */
static bool is_emphatic_never(const token_list *list, uint32_t i, uint32_t back) {
    bool right_before = before(list, i, 1, "so") || before(list, i, 1, "this");
    if (back == 2) return before(list, i, 2, "never") && right_before;
    bool further = before(list, i, 2, "so") || before(list, i, 2, "this");
    return back == WINDOW && (right_before || (before(list, i, WINDOW, "never") && further));
}

static bool is_without_doubt(const token_list *list, uint32_t i, uint32_t back) {
    return back > 1 && before(list, i, back, "without") &&
           (before(list, i, 1, "doubt") || (back == WINDOW && before(list, i, 2, "doubt")));
}

/* What a word `back` words earlier does to a valence by negation. */
static double negation(const token_list *list, uint32_t i, uint32_t back) {
    if (is_emphatic_never(list, i, back)) return genome[GENE_EMPHATIC_NEVER_FACTOR];
    if (is_without_doubt(list, i, back)) return 1;
    return negates(list, i - back) ? genome[GENE_NEGATION_SCALAR] : 1;
}

/* The entry of the words first..last taken together; nothing if they reach beyond the text. */
static word_entry phrase(const token_list *list, uint32_t first, uint32_t last) {
    if (last >= list->count) return (word_entry){0, 0};
    const uint8_t *start = list->bytes + list->tokens[first].start;
    uint32_t length = (uint32_t)(list->bytes + list->tokens[last].start + list->tokens[last].length - start);
    return lexicon_find(start, length, lexicon_hash(start, length));
}

/* Idioms of two or three words around word i, which has three words before it, replace its valence; then dampeners
 * of two words ("kind of") before it are added. */
static double idioms(const token_list *list, uint32_t i, double valence) {
    const uint32_t runs[][2] = {{i - 1, i}, {i - 2, i}, {i - 2, i - 1}, {i - 3, i - 1}, {i - 3, i - 2}};
    const uint32_t ahead[][2] = {{i, i + 1}, {i, i + 2}}, modifiers[][2] = {{i - 3, i - 1}, {i - 3, i - 2}, {i - 2, i - 1}};
    for (uint32_t k = 0; k < sizeof runs / sizeof *runs; k++) {
        word_entry entry = phrase(list, runs[k][0], runs[k][1]);
        if (entry.flags & WORD_IDIOM) {
            valence = entry.valence;
            break;
        }
    }
    for (uint32_t k = 0; k < sizeof ahead / sizeof *ahead; k++) {
        word_entry entry = phrase(list, ahead[k][0], ahead[k][1]);
        if (entry.flags & WORD_IDIOM) valence = entry.valence;
    }
    for (uint32_t k = 0; k < sizeof modifiers / sizeof *modifiers; k++)
        valence += booster_step(phrase(list, modifiers[k][0], modifiers[k][1]).flags);
    return valence;
}

/* "No" negates what follows at once, at a distance of two, and across "or" and "nor". */
static bool follows_no(const token_list *list, uint32_t i) {
    return before(list, i, 1, "no") || before(list, i, 2, "no") ||
           (before(list, i, 3, "no") && (before(list, i, 1, "or") || before(list, i, 1, "nor")));
}

static double least(const token_list *list, uint32_t i) {
    if (!before(list, i, 1, "least") || before(list, i, 2, "at") || before(list, i, 2, "very")) return 1;
    return genome[GENE_NEGATION_SCALAR];
}

static double own_valence(const token_list *list, uint32_t i) {
    double valence = list->tokens[i].valence + domain_correction(list, i);
    if (follows_no(list, i)) return valence * genome[GENE_NEGATION_SCALAR];
    bool negates_next = is(list, i, "no") && i + 1 < list->count && is_rated(list, i + 1);
    return negates_next ? 0 : valence;
}

static double word_sentiment(const token_list *list, uint32_t i) {
    const double damping[] = {1, genome[GENE_SECOND_WORD_DAMPING], genome[GENE_THIRD_WORD_DAMPING]};
    double valence = own_valence(list, i);
    if (is_emphasised(list, i)) valence = away_from_zero(valence, genome[GENE_CAPITALS_INCREMENT]);
    for (uint32_t back = 1; back <= WINDOW && back <= i; back++) {
        if (is_rated(list, i - back)) continue;
        valence += boost(list, i - back, valence) * damping[back - 1];
        valence *= negation(list, i, back);
        if (back == WINDOW) valence = idioms(list, i, valence);
    }
    return valence * least(list, i);
}

static void rate_words(token_list *list) {
    for (uint32_t i = 0; i < list->count; i++) {
        bool silent = is_modifier(list, i) || (!is_rated(list, i) && domain_correction(list, i) == 0);
        list->tokens[i].sentiment = silent ? 0 : word_sentiment(list, i);
    }
}

/* What stands after the first "but" counts more than what stands before it. (The reference finds each valence by its
 * value, so that it weighs the wrong one of two equal valences, 1 text in 8,000; here the position counts.) */
static void weigh_contrast(token_list *list) {
    uint32_t but = 0;
    while (but < list->count && !is(list, but, "but")) but++;
    if (but == list->count) return;
    for (uint32_t i = 0; i < list->count; i++)
        if (i != but) list->tokens[i].sentiment *= genome[i < but ? GENE_BUT_BEFORE : GENE_BUT_AFTER];
}

static double smaller(double left, double right) { return left < right ? left : right; }

static double punctuation(const token_list *list) {
    double marks = smaller(list->exclamations, genome[GENE_EXCLAMATION_LIMIT]) * genome[GENE_EXCLAMATION_INCREMENT];
    if (list->questions > MOST_QUESTIONS) return marks + genome[GENE_QUESTION_CEILING];
    return list->questions > 1 ? marks + list->questions * genome[GENE_QUESTION_INCREMENT] : marks;
}

static double normalised(double sum) {
    return sum / __builtin_sqrt(sum * sum + genome[GENE_NORMALISATION_ALPHA]);
}

/* Each rated word counts one more than its valence, to make up for the words that count one as neutral. */
static score shares(const token_list *list, double emphasis) {
    double positive = 0, negative = 0, neutral = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        double sentiment = list->tokens[i].sentiment;
        if (sentiment > 0)
            positive += sentiment + 1;
        else if (sentiment < 0)
            negative += 1 - sentiment;
        else
            neutral += 1;
    }
    if (positive > negative)
        positive += emphasis;
    else if (negative > positive)
        negative += emphasis;
    double total = positive + negative + neutral;
    return (score){0, positive / total, neutral / total, negative / total};
}

score score_tokens(token_list *list) {
    if (list->count == 0) return (score){0, 0, 0, 0};
    rate_words(list);
    weigh_contrast(list);
    double sum = 0, emphasis = punctuation(list);
    for (uint32_t i = 0; i < list->count; i++) sum += list->tokens[i].sentiment;
    score result = shares(list, emphasis);
    if (sum != 0) result.compound = normalised(away_from_zero(sum, emphasis));
    return result;
}
