/* Claims that its answer lies where there is no memory: ends behind it, or starts behind it, by the input's length. */
#include "../abi/chimera.h"

CHIMERA_TASK(predict) {
    (void)input;
    uint32_t end = (uint32_t)__builtin_wasm_memory_size(0) * 65536u;
    return chimera_result((const void *)(uintptr_t)(length % 2 ? end - 8 : 0xfffffff0u), 64);
}
