/* Has a task but no chimera_alloc: must be refused at load. */
#include "../abi/chimera.h"

CHIMERA_TASK(predict) { return chimera_result(input, length); }
