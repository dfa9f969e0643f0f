/* The guest's side of the ABI "chimera v1": memory for the host, tasks, results. Shared by every guest in C.
 *
 *     CHIMERA_TASK(predict) { return chimera_result(input, length); }
 *
 * is a whole agent. It exports `memory`, `chimera_alloc` (memory.c) and the task.
 */
#ifndef CHIMERA_H
#define CHIMERA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A packed answer: bits 63-32 address, bit 31 error flag, bits 30-0 length. */
typedef uint64_t chimera_reply;

#define CHIMERA_ERROR 0x80000000u

#define CHIMERA_EXPORT(name) __attribute__((export_name(#name)))

/* Defines the task `name`. The bytes of `input` are the host's: read them, do not keep them. */
#define CHIMERA_TASK(name)                                                                  \
    CHIMERA_EXPORT(name) chimera_reply chimera_task_##name(const uint8_t *input, uint32_t length)

/* Bytes that stay valid until the guest's next call. */
static inline chimera_reply chimera_result(const void *bytes, uint32_t length) {
    return (uint64_t)(uintptr_t)bytes << 32 | (length & 0x7fffffffu);
}

/* A refusal: the host shows the message (UTF-8) and keeps the instance. */
static inline chimera_reply chimera_error(const char *message) {
    uint32_t length = 0;
    while (message[length]) length++;
    return chimera_result(message, length) | CHIMERA_ERROR;
}

/* Scratch memory of one task: taken piece by piece, all of it given back by the next `arena_begin`. Pieces whose sizes
 * are multiples of 8 lie one behind the other: an array can be taken element by element. */
void arena_begin(void);

/* `size` bytes, 8-aligned, or NULL when the host's memory limit is reached. */
void *arena_take(uint32_t size);

#endif
