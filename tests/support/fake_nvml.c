/* A libnvidia-ml.so.1 for tests: the symbols that nvidia-ml-py 13 calls, answered from a text file.
 *
 * FAKE_NVML_STATE names the file. It is read again on every call, so a test changes the machine by replacing it:
 *
 *   system init=0 driver=580.65.06 hang=0
 *   gpu uuid=GPU-1 name=NVIDIA_A2 total=16380 used=512 reserved=300 temp=41 energy=123456 procs=123:400,456:12
 *
 * Memory in MiB, power in mW, energy in mJ, `_` in a name for a space. A key that is absent is a reading that this
 * device does not support. fail=N makes every call to the device answer N (15 = the GPU is lost); hang=1 keeps its
 * calls from returning while it stands there; xid=SEQ:CODE is delivered as an event once for each new SEQ;
 * mig=UUID:MIB,UUID:MIB switches MIG on with these instances.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, NO_DRIVER = 9, TIMEOUT = 10 };
enum { MOST_GPUS = 16, MOST_PARTS = 8, LINE = 4096, TEXT = 1024 };

typedef int Result;
typedef unsigned long long u64;
typedef struct { int gpu, part; } *Device; /* part 0 = the whole GPU, n = its MIG instance n-1 */
typedef struct { u64 watched[MOST_GPUS]; } *Events;

struct Pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };
struct Process { unsigned pid; u64 memory; unsigned gpu_instance, compute_instance; };
struct Event { Device device; u64 type, data; unsigned gpu_instance, compute_instance; };
struct MemoryV1 { u64 total, free, used; };
struct MemoryV2 { unsigned version; u64 total, reserved, free, used; };
struct Temperature { unsigned version, sensor; int value; };
struct Attributes { unsigned counts[8]; u64 memory_mib; };

static struct { int gpu, part; } handles[MOST_GPUS][MOST_PARTS + 1];
static int initialized;

/* -- the file ----------------------------------------------------------------------------------------------------- */

static int line_of(const char *kind, int index, char *line) {
  const char *path = getenv("FAKE_NVML_STATE");
  FILE *file = path ? fopen(path, "r") : NULL;
  size_t length = strlen(kind);
  int found = 0;
  if (!file) return 0;
  while (!found && fgets(line, LINE, file))
    if (!strncmp(line, kind, length) && line[length] == ' ' && index-- == 0) found = 1;
  fclose(file);
  return found;
}

static int text_of(const char *line, const char *key, char *value, size_t size) {
  size_t length = strlen(key);
  const char *at = line;
  while ((at = strchr(at, ' ')) != NULL) {
    at++;
    if (!strncmp(at, key, length) && at[length] == '=') {
      size_t n = strcspn(at + length + 1, " \n");
      snprintf(value, size, "%.*s", (int)n, at + length + 1);
      return 1;
    }
  }
  return 0;
}

static int number_of(const char *line, const char *key, u64 *value) {
  char text[TEXT];
  if (!text_of(line, key, text, sizeof text)) return 0;
  *value = strtoull(text, NULL, 10);
  return 1;
}

static u64 number_or(const char *line, const char *key, u64 otherwise) {
  u64 value;
  return number_of(line, key, &value) ? value : otherwise;
}

static void wait_while_hung(const char *kind, int index, char *line) {
  while (line_of(kind, index, line) && number_or(line, "hang", 0)) usleep(5000);
}

static Result system_line(char *line) {
  wait_while_hung("system", 0, line);
  if (!initialized) return UNINITIALIZED;
  return line_of("system", 0, line) ? SUCCESS : NO_DRIVER;
}

static Result gpu_line(Device device, char *line) {
  if (!initialized) return UNINITIALIZED;
  if (!device) return INVALID;
  wait_while_hung("gpu", device->gpu, line);
  if (!line_of("gpu", device->gpu, line)) return INVALID;
  return (Result)number_or(line, "fail", SUCCESS);
}

static Result reading(Device device, const char *key, u64 *value) {
  char line[LINE];
  Result result = gpu_line(device, line);
  if (result) return result;
  return number_of(line, key, value) ? SUCCESS : NOT_SUPPORTED;
}

static Result reading32(Device device, const char *key, unsigned *value) {
  u64 wide;
  Result result = reading(device, key, &wide);
  if (!result) *value = (unsigned)wide;
  return result;
}

/* The n-th of `a:b,c:d`, counted from 0. */
static int pair_of(const char *line, const char *key, int n, char *first, char *second) {
  char text[TEXT], *entry, *rest = text, *colon;
  if (!text_of(line, key, text, sizeof text)) return 0;
  while ((entry = strsep(&rest, ",")) != NULL) {
    if (!*entry || n-- > 0) continue;
    colon = strrchr(entry, ':');
    if (!colon) return 0;
    *colon = 0;
    snprintf(first, TEXT, "%s", entry);
    snprintf(second, TEXT, "%s", colon + 1);
    return 1;
  }
  return 0;
}

/* -- library and system ------------------------------------------------------------------------------------------- */

Result nvmlInitWithFlags(unsigned flags) {
  char line[LINE];
  Result result;
  (void)flags;
  wait_while_hung("system", 0, line);
  if (!line_of("system", 0, line)) return NO_DRIVER;
  result = (Result)number_or(line, "init", SUCCESS);
  if (!result) initialized++;
  return result;
}

Result nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

Result nvmlShutdown(void) {
  if (!initialized) return UNINITIALIZED;
  initialized--;
  return SUCCESS;
}

const char *nvmlErrorString(Result result) {
  switch (result) {
    case SUCCESS: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case NOT_SUPPORTED: return "Not Supported";
    case NO_DRIVER: return "Driver Not Loaded";
    case 15: return "GPU is lost";
    case 16: return "GPU requires reset";
    default: return "Unknown Error";
  }
}

static Result system_text(const char *key, const char *otherwise, char *value, unsigned size) {
  char line[LINE];
  Result result = system_line(line);
  if (!result && !text_of(line, key, value, size)) snprintf(value, size, "%s", otherwise);
  return result;
}

Result nvmlSystemGetDriverVersion(char *value, unsigned size) { return system_text("driver", "580.65.06", value, size); }
Result nvmlSystemGetNVMLVersion(char *value, unsigned size) { return system_text("nvml", "13.580.65.06", value, size); }

Result nvmlSystemGetCudaDriverVersion_v2(int *value) {
  char line[LINE];
  Result result = system_line(line);
  if (!result) *value = (int)number_or(line, "cuda", 13000);
  return result;
}

Result nvmlSystemGetCudaDriverVersion(int *value) { return nvmlSystemGetCudaDriverVersion_v2(value); }

Result nvmlDeviceGetCount_v2(unsigned *count) {
  char line[LINE];
  Result result = system_line(line);
  if (!result) for (*count = 0; line_of("gpu", (int)*count, line); (*count)++);
  return result;
}

/* -- which device ------------------------------------------------------------------------------------------------- */

static Device handle_of(int gpu, int part) {
  handles[gpu][part].gpu = gpu;
  handles[gpu][part].part = part;
  return (Device)&handles[gpu][part];
}

Result nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *device) {
  char line[LINE];
  if (!initialized) return UNINITIALIZED;
  if (index >= MOST_GPUS || !line_of("gpu", (int)index, line)) return INVALID;
  *device = handle_of((int)index, 0);
  return gpu_line(*device, line);
}

static Result handle_by(const char *key, const char *value, Device *device) {
  char line[LINE], text[TEXT];
  if (!initialized) return UNINITIALIZED;
  for (int index = 0; index < MOST_GPUS && line_of("gpu", index, line); index++)
    if (text_of(line, key, text, sizeof text) && !strcmp(text, value)) {
      *device = handle_of(index, 0);
      return gpu_line(*device, line);
    }
  return NOT_FOUND;
}

Result nvmlDeviceGetHandleByUUID(const char *uuid, Device *device) { return handle_by("uuid", uuid, device); }
Result nvmlDeviceGetHandleByPciBusId_v2(const char *bus, Device *device) { return handle_by("pci", bus, device); }

Result nvmlDeviceGetIndex(Device device, unsigned *index) {
  if (!device) return INVALID;
  *index = (unsigned)device->gpu;
  return SUCCESS;
}

Result nvmlDeviceGetMinorNumber(Device device, unsigned *minor) { return nvmlDeviceGetIndex(device, minor); }

static Result device_text(Device device, const char *key, char *value, unsigned size) {
  char line[LINE];
  Result result = gpu_line(device, line);
  if (result) return result;
  return text_of(line, key, value, size) ? SUCCESS : NOT_SUPPORTED;
}

Result nvmlDeviceGetName(Device device, char *name, unsigned size) {
  Result result = device_text(device, "name", name, size);
  for (char *at = name; !result && *at; at++) if (*at == '_') *at = ' ';
  return result;
}

Result nvmlDeviceGetUUID(Device device, char *uuid, unsigned size) {
  char line[LINE], first[TEXT], second[TEXT];
  Result result = gpu_line(device, line);
  if (result) return result;
  if (!device->part) return text_of(line, "uuid", uuid, size) ? SUCCESS : NOT_SUPPORTED;
  if (!pair_of(line, "mig", device->part - 1, first, second)) return NOT_FOUND;
  snprintf(uuid, size, "%s", first);
  return SUCCESS;
}

Result nvmlDeviceGetPciInfo_v3(Device device, struct Pci *pci) {
  memset(pci, 0, sizeof *pci);
  return device_text(device, "pci", pci->bus_id, sizeof pci->bus_id);
}

Result nvmlDeviceGetCudaComputeCapability(Device device, int *major, int *minor) {
  char text[TEXT];
  Result result = device_text(device, "capability", text, sizeof text);
  if (!result && sscanf(text, "%d.%d", major, minor) != 2) return INVALID;
  return result;
}

/* -- readings ----------------------------------------------------------------------------------------------------- */

static Result memory_of(Device device, u64 *total, u64 *reserved, u64 *used) {
  char line[LINE], first[TEXT], second[TEXT];
  Result result = gpu_line(device, line);
  if (result) return result;
  *reserved = number_or(line, "reserved", 0) << 20;
  if (device->part) {
    if (!pair_of(line, "mig", device->part - 1, first, second)) return NOT_FOUND;
    *total = strtoull(second, NULL, 10) << 20, *used = 0, *reserved = 0;
    return SUCCESS;
  }
  if (!number_of(line, "total", total) || !number_of(line, "used", used)) return NOT_SUPPORTED;
  *total <<= 20, *used <<= 20;
  return SUCCESS;
}

/* As since R510: version 1 counts what the driver reserves as used. */
Result nvmlDeviceGetMemoryInfo(Device device, struct MemoryV1 *memory) {
  u64 reserved;
  Result result = memory_of(device, &memory->total, &reserved, &memory->used);
  if (!result) memory->used += reserved, memory->free = memory->total - memory->used;
  return result;
}

Result nvmlDeviceGetMemoryInfo_v2(Device device, struct MemoryV2 *memory) {
  Result result = memory_of(device, &memory->total, &memory->reserved, &memory->used);
  if (!result) memory->free = memory->total - memory->used - memory->reserved;
  return result;
}

Result nvmlDeviceGetUtilizationRates(Device device, unsigned *rates) {
  Result result = reading32(device, "util", &rates[0]);
  if (!result && reading32(device, "memutil", &rates[1])) rates[1] = 0;
  return result;
}

Result nvmlDeviceGetTemperature(Device device, unsigned sensor, unsigned *value) {
  return sensor ? INVALID : reading32(device, "temp", value);
}

Result nvmlDeviceGetTemperatureV(Device device, struct Temperature *temperature) {
  return nvmlDeviceGetTemperature(device, temperature->sensor, (unsigned *)&temperature->value);
}

Result nvmlDeviceGetTemperatureThreshold(Device device, unsigned which, unsigned *value) {
  return reading32(device, which == 0 ? "shutdown" : which == 1 ? "slowdown" : "gpumax", value);
}

Result nvmlDeviceGetPowerUsage(Device device, unsigned *value) { return reading32(device, "power", value); }
Result nvmlDeviceGetEnforcedPowerLimit(Device device, unsigned *value) { return reading32(device, "limit", value); }
Result nvmlDeviceGetPowerManagementLimit(Device device, unsigned *value) { return reading32(device, "limit", value); }
Result nvmlDeviceGetPowerManagementDefaultLimit(Device device, unsigned *value) { return reading32(device, "limit", value); }
Result nvmlDeviceGetTotalEnergyConsumption(Device device, u64 *value) { return reading(device, "energy", value); }
Result nvmlDeviceGetFanSpeed(Device device, unsigned *value) { return reading32(device, "fan", value); }
Result nvmlDeviceGetPerformanceState(Device device, unsigned *value) { return reading32(device, "pstate", value); }

Result nvmlDeviceGetEccMode(Device device, unsigned *now, unsigned *pending) {
  u64 errors;
  Result result = reading(device, "ecc", &errors);
  if (!result) *now = *pending = 1;
  return result;
}

/* `ecc` counts the uncorrected errors since the driver was loaded; corrected ones and lifetime sums are not told. */
Result nvmlDeviceGetTotalEccErrors(Device device, unsigned type, unsigned counter, u64 *value) {
  return type == 1 && counter == 0 ? reading(device, "ecc", value) : NOT_SUPPORTED;
}

Result nvmlDeviceGetRemappedRows(Device device, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failed) {
  Result result = reading32(device, "remap_pending", pending);
  if (result) return result;
  *corrected = *uncorrected = 0;
  return reading32(device, "remap_failed", failed) ? (*failed = 0, SUCCESS) : SUCCESS;
}

Result nvmlDeviceGetRetiredPagesPendingStatus(Device device, unsigned *pending) { return reading32(device, "retire_pending", pending); }

/* -- processes ---------------------------------------------------------------------------------------------------- */

static Result processes(Device device, const char *key, unsigned *count, struct Process *found) {
  char line[LINE], pid[TEXT], memory[TEXT];
  unsigned n = 0;
  Result result = gpu_line(device, line);
  if (result) return result;
  if (device->part) { *count = 0; return SUCCESS; }
  if (!text_of(line, key, pid, sizeof pid)) return NOT_SUPPORTED;
  for (; pair_of(line, key, (int)n, pid, memory); n++)
    if (found && n < *count) {
      found[n].pid = (unsigned)strtoul(pid, NULL, 10);
      found[n].memory = *memory == '?' ? (u64)-1 : strtoull(memory, NULL, 10) << 20;
      found[n].gpu_instance = found[n].compute_instance = 0xffffffffu;
    }
  result = n > *count ? TOO_SMALL : SUCCESS;
  *count = n;
  return result;
}

Result nvmlDeviceGetComputeRunningProcesses_v2(Device d, unsigned *n, struct Process *p) { return processes(d, "procs", n, p); }
Result nvmlDeviceGetComputeRunningProcesses_v3(Device d, unsigned *n, struct Process *p) { return processes(d, "procs", n, p); }
Result nvmlDeviceGetGraphicsRunningProcesses_v2(Device d, unsigned *n, struct Process *p) { return processes(d, "graphics", n, p); }
Result nvmlDeviceGetGraphicsRunningProcesses_v3(Device d, unsigned *n, struct Process *p) { return processes(d, "graphics", n, p); }
Result nvmlDeviceGetMPSComputeRunningProcesses_v3(Device d, unsigned *n, struct Process *p) { return processes(d, "mps", n, p); }

/* -- MIG ---------------------------------------------------------------------------------------------------------- */

Result nvmlDeviceGetMigMode(Device device, unsigned *now, unsigned *pending) {
  char text[TEXT];
  Result result = device_text(device, "mig", text, sizeof text);
  if (!result) *now = *pending = 1;
  return result;
}

Result nvmlDeviceGetMaxMigDeviceCount(Device device, unsigned *count) {
  char line[LINE];
  Result result = gpu_line(device, line);
  if (!result) *count = MOST_PARTS - 1;
  return result;
}

Result nvmlDeviceGetMigDeviceHandleByIndex(Device device, unsigned index, Device *part) {
  char line[LINE], first[TEXT], second[TEXT];
  Result result = gpu_line(device, line);
  if (result) return result;
  if (index >= MOST_PARTS || !pair_of(line, "mig", (int)index, first, second)) return NOT_FOUND;
  *part = handle_of(device->gpu, (int)index + 1);
  return SUCCESS;
}

Result nvmlDeviceIsMigDeviceHandle(Device device, unsigned *is) {
  if (!device) return INVALID;
  *is = device->part > 0;
  return SUCCESS;
}

Result nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device part, Device *device) {
  if (!part || !part->part) return INVALID;
  *device = handle_of(part->gpu, 0);
  return SUCCESS;
}

Result nvmlDeviceGetAttributes_v2(Device device, struct Attributes *attributes) {
  u64 total, reserved, used;
  Result result = memory_of(device, &total, &reserved, &used);
  if (result || !device->part) return result ? result : NOT_SUPPORTED;
  memset(attributes, 0, sizeof *attributes);
  attributes->memory_mib = total >> 20;
  return SUCCESS;
}

/* -- events ------------------------------------------------------------------------------------------------------- */

static void xid_of(const char *line, u64 *seq, u64 *code) {
  char first[TEXT], second[TEXT];
  *seq = *code = 0;
  if (pair_of(line, "xid", 0, first, second)) *seq = strtoull(first, NULL, 10), *code = strtoull(second, NULL, 10);
}

Result nvmlEventSetCreate(Events *events) { return (*events = calloc(1, sizeof **events)) ? SUCCESS : 999; }

Result nvmlEventSetFree(Events events) {
  free(events);
  return SUCCESS;
}

Result nvmlDeviceGetSupportedEventTypes(Device device, u64 *types) {
  char line[LINE];
  Result result = gpu_line(device, line);
  if (!result) *types = 8;
  return result;
}

Result nvmlDeviceRegisterEvents(Device device, u64 types, Events events) {
  char line[LINE];
  u64 code;
  Result result = gpu_line(device, line);
  (void)types;
  if (!result) xid_of(line, &events->watched[device->gpu], &code);
  return result;
}

Result nvmlEventSetWait_v2(Events events, struct Event *event, unsigned timeout_ms) {
  char line[LINE];
  u64 seq, code;
  (void)timeout_ms;
  if (!initialized) return UNINITIALIZED;
  for (int index = 0; index < MOST_GPUS && line_of("gpu", index, line); index++) {
    xid_of(line, &seq, &code);
    if (seq <= events->watched[index]) continue;
    events->watched[index] = seq;
    memset(event, 0, sizeof *event);
    event->device = handle_of(index, 0), event->type = 8, event->data = code;
    return SUCCESS;
  }
  return TIMEOUT;
}
