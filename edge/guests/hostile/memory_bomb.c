/* Takes and writes all the memory it can get, then gives up loudly: must meet the limit on memory. */
#include "../abi/chimera.h"

CHIMERA_TASK(predict) {
    (void)input, (void)length;
    arena_begin();
    for (;;) {
        uint8_t *block = arena_take(1u << 20);
        if (!block) __builtin_trap();
        for (uint32_t i = 0; i < 1u << 20; i += 4096) ((volatile uint8_t *)block)[i] = 1;
    }
}
