/* The sentiment agent: {"text": "…"} in; label, compound score and shares out. */
#include "../abi/chimera.h"
#include "../abi/json.h"
#include "genome.h"
#include "scorer.h"

enum { LONGEST_TEXT = 65536, DECIMALS = 6 };

static uint8_t answer[256];

static const char *label_of(double compound) {
    if (compound >= genome[GENE_POSITIVE_THRESHOLD]) return "positive";
    return compound <= genome[GENE_NEGATIVE_THRESHOLD] ? "negative" : "neutral";
}

static void put_field(json_writer *out, const char *name, double value, uint32_t decimals) {
    json_put(out, name);
    json_put_number(out, value, decimals);
}

static chimera_reply write_answer(score it, uint32_t words) {
    json_writer out = {answer, sizeof answer, 0};
    json_put(&out, "{\"label\":\"");
    json_put(&out, label_of(it.compound));
    put_field(&out, "\",\"compound\":", it.compound, DECIMALS);
    put_field(&out, ",\"positive\":", it.positive, DECIMALS);
    put_field(&out, ",\"neutral\":", it.neutral, DECIMALS);
    put_field(&out, ",\"negative\":", it.negative, DECIMALS);
    put_field(&out, ",\"words\":", words, 0);
    json_put(&out, "}");
    return chimera_result(answer, out.length);
}

static const char *complaint(json_outcome outcome) {
    switch (outcome) {
        case JSON_FOUND: return NULL;
        case JSON_INVALID: return "the input is not JSON in UTF-8 (nested at most 32 deep)";
        case JSON_NOT_OBJECT: return "the input must be an object such as {\"text\": \"what a day\"}";
        case JSON_MISSING: return "the input has no field \"text\"";
        case JSON_NOT_STRING: return "the field \"text\" must be a string";
    }
    return "the input could not be read";
}

CHIMERA_TASK(predict) {
    token_list list;
    uint32_t text_length;
    arena_begin();
    uint8_t *text = arena_take(length);
    if (!text) return chimera_error("out of memory while reading the input");
    const char *problem = complaint(json_string_field(input, length, "text", text, &text_length));
    if (problem) return chimera_error(problem);
    if (text_length > LONGEST_TEXT) return chimera_error("the text is longer than 65536 bytes in UTF-8");
    if (!tokenise(text, text_length, &list)) return chimera_error("out of memory while splitting the text");
    return write_answer(score_tokens(&list), list.count);
}
