#include "genome.h"

#include "../abi/chimera.h"
#include "../abi/json.h"

enum { HEADER = 8 };

typedef struct {
    const char *name;
    uint32_t first;
    uint32_t count;
    double low;
    double high;
    bool whole; /* only integers */
} parameter;

static const parameter parameters[] = {
#define PARAMETER(name, first, count, low, high, whole) {name, first, count, low, high, whole},
    GENOME_PARAMETERS(PARAMETER)
#undef PARAMETER
};

static const double defaults[GENE_COUNT] = GENOME_DEFAULTS;

double genome[GENE_COUNT] = GENOME_DEFAULTS;

static uint8_t message[160];

static chimera_reply refuse_count(uint32_t count) {
    json_writer out = {message, sizeof message, 0};
    json_put(&out, "the genome has ");
    json_put_number(&out, count, 0);
    json_put(&out, " genes; this agent takes ");
    json_put_number(&out, GENE_COUNT, 0);
    json_put(&out, ", or none for its defaults");
    return chimera_result(message, out.length) | CHIMERA_ERROR;
}

static chimera_reply refuse_value(const parameter *gene) {
    json_writer out = {message, sizeof message, 0};
    json_put(&out, "gene ");
    json_put(&out, gene->name);
    json_put(&out, gene->whole ? " must be an integer from " : " must be a number from ");
    json_put_number(&out, gene->low, 3);
    json_put(&out, " to ");
    json_put_number(&out, gene->high, 3);
    return chimera_result(message, out.length) | CHIMERA_ERROR;
}

/* Written so that NaN does not fit. */
static bool fits(const parameter *gene, double value) {
    return value >= gene->low && value <= gene->high && (!gene->whole || value == __builtin_trunc(value));
}

static const parameter *first_misfit(const double *values) {
    for (uint32_t p = 0; p < sizeof parameters / sizeof *parameters; p++)
        for (uint32_t i = 0; i < parameters[p].count; i++)
            if (!fits(&parameters[p], values[parameters[p].first + i])) return &parameters[p];
    return NULL;
}

CHIMERA_EXPORT(chimera_configure) chimera_reply chimera_configure(const uint8_t *input, uint32_t length) {
    uint32_t counts[2];
    double values[GENE_COUNT];
    if (length < HEADER) return chimera_error("the configuration is shorter than its header of 8 bytes");
    __builtin_memcpy(counts, input, HEADER);
    if (counts[0] != 0 && counts[0] != GENE_COUNT) return refuse_count(counts[0]);
    if (length != HEADER + counts[0] * sizeof(double) + (uint64_t)counts[1])
        return chimera_error("the configuration's length does not match its header");
    if (counts[1]) return chimera_error("this agent takes a genome only, no further configuration");
    __builtin_memcpy(values, counts[0] ? (const void *)(input + HEADER) : defaults, sizeof values);
    const parameter *misfit = first_misfit(values);
    if (misfit) return refuse_value(misfit);
    __builtin_memcpy(genome, values, sizeof values);
    return chimera_result(NULL, 0);
}
