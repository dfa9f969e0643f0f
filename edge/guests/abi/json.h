/* As much JSON (RFC 8259) as an agent needs: one string field of an object, strictly checked; a small writer. */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stdint.h>

enum { JSON_DEPTH = 32 };

/* What became of looking for a field. */
typedef enum {
    JSON_FOUND,
    JSON_INVALID,    /* not a JSON document, or not UTF-8, or nested deeper than JSON_DEPTH */
    JSON_NOT_OBJECT, /* JSON, but no object */
    JSON_MISSING,    /* an object without that field */
    JSON_NOT_STRING, /* the field holds something else */
} json_outcome;

/* Decodes the string field `name` of the object in `bytes` to UTF-8 in `out`, which must have room for `length`
 * bytes (decoding never lengthens), and sets `out_length`. The whole document is checked. Other fields are passed
 * over; of a repeated field the last counts; a lone surrogate escape becomes U+FFFD. */
json_outcome json_string_field(const uint8_t *bytes, uint32_t length, const char *name, uint8_t *out,
                               uint32_t *out_length);

/* Text under construction. `room` bytes are at `bytes`; what does not fit is dropped. */
typedef struct {
    uint8_t *bytes;
    uint32_t room;
    uint32_t length;
} json_writer;

/* Appends characters as they are. */
void json_put(json_writer *writer, const char *text);

/* Appends a number with `decimals` digits after the point, rounded half away from zero; |value| < 1e12. */
void json_put_number(json_writer *writer, double value, uint32_t decimals);

#endif
