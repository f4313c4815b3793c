#include "cmd/gpu.h"

#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"

/* nvml.h's, by layout; every function returns 0 for success. */
typedef struct nvml_device nvml_device;
typedef struct nvml_memory {
    unsigned long long total, free, used;
} nvml_memory;
typedef struct nvml_utilisation {
    unsigned int gpu, memory;
} nvml_utilisation;
enum { NVML_TEMPERATURE_GPU = 0 };

typedef struct nvml {
    int (*init)(void);
    int (*shutdown)(void);
    int (*count)(unsigned int *);
    int (*handle)(unsigned int, nvml_device **);
    int (*name)(nvml_device *, char *, unsigned int);
    int (*memory)(nvml_device *, nvml_memory *);
    int (*utilisation)(nvml_device *, nvml_utilisation *); /* these may be absent */
    int (*power)(nvml_device *, unsigned int *);
    int (*temperature)(nvml_device *, int, unsigned int *);
    int (*driver)(char *, unsigned int);
} nvml;

struct lx_gpus {
    void *library;
    nvml call;
    size_t count;
    nvml_device *devices[LX_GPUS];
    int indices[LX_GPUS];
    char names[LX_GPUS][96];
    double memory[LX_GPUS];
    char driver[80];
};

/* A function pointer out of dlsym's void *, as POSIX wants it. */
static bool find(void *function, void *library, const char *name)
{
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

static bool load(lx_gpus *g)
{
    const char *path = getenv("LX_NVML");

    g->library =
        dlopen(path && *path ? path : "libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!g->library)
        return false;
    find(&g->call.utilisation, g->library, "nvmlDeviceGetUtilizationRates");
    find(&g->call.power, g->library, "nvmlDeviceGetPowerUsage");
    find(&g->call.temperature, g->library, "nvmlDeviceGetTemperature");
    find(&g->call.driver, g->library, "nvmlSystemGetDriverVersion");
    return find(&g->call.init, g->library, "nvmlInit_v2") &&
           find(&g->call.shutdown, g->library, "nvmlShutdown") &&
           find(&g->call.count, g->library, "nvmlDeviceGetCount_v2") &&
           find(&g->call.handle, g->library, "nvmlDeviceGetHandleByIndex_v2") &&
           find(&g->call.name, g->library, "nvmlDeviceGetName") &&
           find(&g->call.memory, g->library, "nvmlDeviceGetMemoryInfo");
}

/* A list of numbers means those; anything else (UUIDs) all, for NVML counts otherwise
 * than CUDA. */
static bool is_visible(unsigned int index)
{
    const char *list = getenv("CUDA_VISIBLE_DEVICES");

    if (!list)
        return true;
    if (list[strspn(list, "0123456789, -")])
        return true;
    while (*list) {
        char *end;
        long number = strtol(list, &end, 10);
        if (end == list || number < 0) /* CUDA stops at the first that is none */
            return false;
        if (number == (long)index)
            return true;
        list = end + strspn(end, ", ");
    }
    return false;
}

static void add_devices(lx_gpus *g)
{
    unsigned int n = 0;

    if (g->call.count(&n) != 0)
        return;
    for (unsigned int i = 0; i < n && g->count < LX_GPUS; i++) {
        nvml_memory memory = {0};
        if (!is_visible(i) || g->call.handle(i, &g->devices[g->count]) != 0)
            continue;
        if (g->call.name(g->devices[g->count], g->names[g->count], sizeof g->names[0]) !=
            0)
            snprintf(g->names[g->count], sizeof g->names[0], "GPU %u", i);
        g->names[g->count][sizeof g->names[0] - 1] = '\0';
        g->memory[g->count] = g->call.memory(g->devices[g->count], &memory) == 0
                                  ? (double)memory.total
                                  : NAN;
        g->indices[g->count++] = (int)i;
    }
}

lx_gpus *lx_gpus_open(void)
{
    lx_gpus *g = lx_calloc(1, sizeof *g);

    if (!g)
        return NULL;
    if (!load(g) || g->call.init() != 0) {
        if (g->library)
            dlclose(g->library);
        lx_free(g);
        return NULL;
    }
    add_devices(g);
    if (g->call.driver && g->call.driver(g->driver, sizeof g->driver) != 0)
        g->driver[0] = '\0';
    g->driver[sizeof g->driver - 1] = '\0';
    if (g->count == 0) {
        lx_gpus_close(g);
        return NULL;
    }
    return g;
}

void lx_gpus_close(lx_gpus *g)
{
    if (!g)
        return;
    g->call.shutdown();
    dlclose(g->library);
    lx_free(g);
}

size_t lx_gpus_count(const lx_gpus *g)
{
    return g ? g->count : 0;
}

const char *lx_gpus_name(const lx_gpus *g, size_t i)
{
    return g->names[i];
}

double lx_gpus_memory(const lx_gpus *g, size_t i)
{
    return g->memory[i];
}

const char *lx_gpus_driver(const lx_gpus *g)
{
    return g->driver;
}

void lx_gpus_sample(lx_gpu_sample *out, const lx_gpus *g, size_t i)
{
    nvml_device *device = g->devices[i];
    nvml_memory memory = {0};
    nvml_utilisation load = {0};
    unsigned int milliwatts = 0, degrees = 0;

    *out = (lx_gpu_sample){.index = g->indices[i],
                           .memory_used = NAN,
                           .utilisation = NAN,
                           .power = NAN,
                           .temperature = NAN};
    if (g->call.memory(device, &memory) == 0)
        out->memory_used = (double)memory.used;
    if (g->call.utilisation && g->call.utilisation(device, &load) == 0)
        out->utilisation = load.gpu;
    if (g->call.power && g->call.power(device, &milliwatts) == 0)
        out->power = milliwatts / 1000.0;
    if (g->call.temperature &&
        g->call.temperature(device, NVML_TEMPERATURE_GPU, &degrees) == 0)
        out->temperature = degrees;
}
