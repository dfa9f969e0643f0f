/* Never finishes starting: `_initialize` must obey the limits too. */
#include "../abi/chimera.h"

CHIMERA_EXPORT(_initialize) void start(void) {
    volatile uint32_t turns = 0;
    for (;;) turns++;
}

CHIMERA_TASK(predict) { return chimera_result(input, length); }
