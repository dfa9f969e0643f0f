/* Executes `unreachable`. */
#include "../abi/chimera.h"

CHIMERA_TASK(predict) {
    (void)input, (void)length;
    __builtin_trap();
}
