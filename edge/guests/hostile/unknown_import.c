/* Asks for a host function that no grant gives: must be refused at load. */
#include "../abi/chimera.h"

__attribute__((import_module("env"), import_name("system"))) int host_system(const char *command);

CHIMERA_TASK(predict) {
    (void)input, (void)length;
    return host_system("id") ? chimera_error("refused") : chimera_result("{}", 2);
}
