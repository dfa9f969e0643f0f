/* Recurses until the stack ends. Both calls' results are needed, so that no compiler makes a loop of it. */
#include "../abi/chimera.h"

static __attribute__((noinline)) uint32_t descend(uint32_t depth) {
    return depth == 0xffffffffu ? 1 : descend(depth + 1) ^ (descend(depth + 2) << 1);
}

CHIMERA_TASK(predict) {
    (void)input;
    return chimera_result(NULL, descend(length));
}
