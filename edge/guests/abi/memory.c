/* One bump allocator: the host's buffers below, the running task's scratch above. */
#include "chimera.h"

enum { PAGE = 65536, ALIGNMENT = 8 };

extern uint8_t __heap_base; /* placed by the linker after data and stack */

static uint32_t host_top;    /* end of what the host owns for ever */
static uint32_t scratch_top; /* end of what the running task took */

static uint32_t lowest(void) { return host_top ? host_top : (uint32_t)(uintptr_t)&__heap_base; }

/* Start of `size` free bytes at or after `from`, growing memory as needed; 0 if there is no room. */
static uint32_t claim(uint32_t from, uint32_t size) {
    uint64_t start = ((uint64_t)from + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
    uint64_t end = start + size;
    uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) * PAGE;
    if (end > UINT32_MAX) return 0;
    if (end > have && __builtin_wasm_memory_grow(0, (size_t)((end - have + PAGE - 1) / PAGE)) == (size_t)-1) return 0;
    return (uint32_t)start;
}

CHIMERA_EXPORT(chimera_alloc) uint32_t chimera_alloc(uint32_t length) {
    uint32_t start = claim(lowest(), length);
    if (start) host_top = start + length;
    return start;
}

void arena_begin(void) { scratch_top = lowest(); }

void *arena_take(uint32_t size) {
    uint32_t start = claim(scratch_top, size);
    if (!start) return NULL;
    scratch_top = start + size;
    return (void *)(uintptr_t)start;
}
