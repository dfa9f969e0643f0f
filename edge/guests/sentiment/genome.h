/* The constants of the rules: what evolution and optimization may change. Names, bounds and defaults are the
 * manifest's; `genome_table.h` is made from it by edge/guests/tables.py. */
#ifndef GENOME_H
#define GENOME_H

#include "genome_table.h"

/* Present values, by GENE_… index. */
extern double genome[GENE_COUNT];

#endif
