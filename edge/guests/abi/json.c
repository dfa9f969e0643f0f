#include "json.h"

#include <stddef.h>

#include "utf8.h"

typedef struct {
    const uint8_t *at;
    const uint8_t *end;
} cursor;

static void skip_space(cursor *in) {
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r')) in->at++;
}

static bool take(cursor *in, uint8_t wanted) {
    if (in->at >= in->end || *in->at != wanted) return false;
    in->at++;
    return true;
}

static bool take_word(cursor *in, const char *word) {
    for (; *word; word++)
        if (!take(in, (uint8_t)*word)) return false;
    return true;
}

static bool take_digits(cursor *in) {
    const uint8_t *start = in->at;
    while (in->at < in->end && *in->at >= '0' && *in->at <= '9') in->at++;
    return in->at > start;
}

static bool skip_number(cursor *in) {
    take(in, '-');
    if (!take(in, '0') && !take_digits(in)) return false;
    if (take(in, '.') && !take_digits(in)) return false;
    if (!take(in, 'e') && !take(in, 'E')) return true;
    if (!take(in, '+')) take(in, '-');
    return take_digits(in);
}

static bool read_hex4(cursor *in, uint32_t *unit) {
    *unit = 0;
    for (int i = 0; i < 4; i++, in->at++) {
        if (in->at >= in->end) return false;
        uint32_t digit = *in->at, letter = digit | 0x20;
        if (digit >= '0' && digit <= '9')
            digit -= '0';
        else if (letter >= 'a' && letter <= 'f')
            digit = letter - 'a' + 10;
        else
            return false;
        *unit = *unit << 4 | digit;
    }
    return true;
}

static bool is_high(uint32_t unit) { return unit >= 0xd800 && unit < 0xdc00; }
static bool is_low(uint32_t unit) { return unit >= 0xdc00 && unit < 0xe000; }

/* After "\u": one code point; a pair is joined, a lone half becomes U+FFFD and leaves what follows unread. */
static bool read_unicode(cursor *in, uint32_t *point) {
    if (!read_hex4(in, point)) return false;
    if (is_high(*point)) {
        cursor ahead = *in;
        uint32_t low;
        if (take_word(&ahead, "\\u") && read_hex4(&ahead, &low) && is_low(low)) {
            *point = 0x10000 + ((*point - 0xd800) << 10) + (low - 0xdc00);
            *in = ahead;
            return true;
        }
    }
    if (is_high(*point) || is_low(*point)) *point = UTF8_REPLACEMENT;
    return true;
}

static bool read_escape(cursor *in, uint32_t *point) {
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (in->at >= in->end) return false;
    uint8_t name = *in->at++;
    if (name == 'u') return read_unicode(in, point);
    for (uint32_t i = 0; names[i]; i++)
        if ((uint8_t)names[i] == name) {
            *point = (uint8_t)values[i];
            return true;
        }
    return false;
}

/* A string, decoded to `out`; `out` NULL only checks it. */
static bool read_string(cursor *in, uint8_t *out, uint32_t *out_length) {
    uint8_t spare[4];
    uint32_t length = 0;
    if (!take(in, '"')) return false;
    while (in->at < in->end) {
        uint32_t point, size = utf8_read(in->at, in->end, &point);
        if (size == 0 || point < 0x20) return false;
        in->at += size;
        if (point == '"') {
            *out_length = length;
            return true;
        }
        if (point == '\\' && !read_escape(in, &point)) return false;
        length += utf8_write(out ? out + length : spare, point);
    }
    return false;
}

static bool skip_value(cursor *in, uint32_t depth);

/* The rest of an array or object whose opening bracket is read. */
static bool skip_members(cursor *in, uint8_t closing, uint32_t depth) {
    uint32_t unused;
    if (depth == JSON_DEPTH) return false;
    skip_space(in);
    if (take(in, closing)) return true;
    do {
        skip_space(in);
        if (closing == '}') {
            if (!read_string(in, NULL, &unused)) return false;
            skip_space(in);
            if (!take(in, ':')) return false;
        }
        if (!skip_value(in, depth + 1)) return false;
        skip_space(in);
    } while (take(in, ','));
    return take(in, closing);
}

static bool skip_value(cursor *in, uint32_t depth) {
    uint32_t unused;
    skip_space(in);
    if (in->at >= in->end) return false;
    switch (*in->at) {
        case '"': return read_string(in, NULL, &unused);
        case '{': return in->at++, skip_members(in, '}', depth);
        case '[': return in->at++, skip_members(in, ']', depth);
        case 't': return take_word(in, "true");
        case 'f': return take_word(in, "false");
        case 'n': return take_word(in, "null");
        default: return skip_number(in);
    }
}

/* Reads a field's name into `out` and tells in `same` whether it is `name`. `out` is free for it: a name is never
 * longer than what is left of the document. */
static bool read_name(cursor *in, const char *name, uint8_t *out, bool *same) {
    uint32_t length, i = 0;
    skip_space(in);
    if (!read_string(in, out, &length)) return false;
    while (i < length && name[i] && out[i] == (uint8_t)name[i]) i++;
    *same = i == length && !name[i];
    skip_space(in);
    return take(in, ':');
}

static bool read_field(cursor *in, const char *name, uint8_t *scratch, const uint8_t **value) {
    bool same;
    if (!read_name(in, name, scratch, &same)) return false;
    skip_space(in);
    if (same) *value = in->at;
    return skip_value(in, 1);
}

static bool read_object(cursor *in, const char *name, uint8_t *scratch, const uint8_t **value) {
    skip_space(in);
    if (take(in, '}')) return true;
    do {
        if (!read_field(in, name, scratch, value)) return false;
        skip_space(in);
    } while (take(in, ','));
    return take(in, '}');
}

static bool at_end(cursor *in) {
    skip_space(in);
    return in->at == in->end;
}

json_outcome json_string_field(const uint8_t *bytes, uint32_t length, const char *name, uint8_t *out,
                               uint32_t *out_length) {
    cursor in = {bytes, bytes + length};
    const uint8_t *value = NULL;
    skip_space(&in);
    if (!take(&in, '{')) return skip_value(&in, 0) && at_end(&in) ? JSON_NOT_OBJECT : JSON_INVALID;
    if (!read_object(&in, name, out, &value) || !at_end(&in)) return JSON_INVALID;
    if (!value) return JSON_MISSING;
    if (*value != '"') return JSON_NOT_STRING;
    in.at = value;
    read_string(&in, out, out_length);
    return JSON_FOUND;
}

static void put_byte(json_writer *writer, uint8_t byte) {
    if (writer->length < writer->room) writer->bytes[writer->length++] = byte;
}

void json_put(json_writer *writer, const char *text) {
    for (; *text; text++) put_byte(writer, (uint8_t)*text);
}

void json_put_number(json_writer *writer, double value, uint32_t decimals) {
    uint8_t digits[24];
    uint32_t count = 0;
    double scale = 1;
    for (uint32_t i = 0; i < decimals; i++) scale *= 10;
    uint64_t scaled = (uint64_t)((value < 0 ? -value : value) * scale + 0.5);
    if (value < 0 && scaled) put_byte(writer, '-');
    do {
        if (count == decimals && decimals) digits[count++] = '.', decimals = 0;
        digits[count++] = (uint8_t)('0' + scaled % 10);
        scaled /= 10;
    } while (scaled || count <= decimals);
    while (count) put_byte(writer, digits[--count]);
}
