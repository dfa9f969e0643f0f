/* Answers what it was asked: for trying out a node, and for measuring everything around a guest. */
#include "../abi/chimera.h"

CHIMERA_TASK(echo) { return chimera_result(input, length); }

CHIMERA_TASK(predict) { return chimera_result(input, length); }
