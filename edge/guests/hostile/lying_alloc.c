/* Hands the host a buffer that does not exist: must be caught before the host writes. */
#include "../abi/chimera.h"

CHIMERA_EXPORT(chimera_alloc) uint32_t lying_alloc(uint32_t length) { return 0xffff0000u - (length & 7); }

CHIMERA_TASK(predict) { return chimera_result(input, length); }
