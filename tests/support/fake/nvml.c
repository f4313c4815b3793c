/*
 * A libnvidia-ml.so.1 of two GPUs that are not there, for tests: the second knows neither
 * its power nor its load. LX_FAKE_NVML_GPUS=0 leaves none; LX_FAKE_NVML_FAILS makes
 * nvmlInit fail as without a driver.
 */
#include <stdlib.h>
#include <string.h>

typedef struct memory {
    unsigned long long total, free, used;
} memory;
typedef struct utilisation {
    unsigned int gpu, memory;
} utilisation;

int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlDeviceGetCount_v2(unsigned int *n);
int nvmlDeviceGetHandleByIndex_v2(unsigned int i, void **device);
int nvmlDeviceGetName(void *device, char *name, unsigned int n);
int nvmlDeviceGetMemoryInfo(void *device, memory *out);
int nvmlDeviceGetUtilizationRates(void *device, utilisation *out);
int nvmlDeviceGetPowerUsage(void *device, unsigned int *milliwatts);
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned int *degrees);
int nvmlSystemGetDriverVersion(char *version, unsigned int n);

enum { SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, DRIVER_NOT_LOADED = 9 };
static char devices[2];

int nvmlInit_v2(void)
{
    return getenv("LX_FAKE_NVML_FAILS") ? DRIVER_NOT_LOADED : SUCCESS;
}

int nvmlShutdown(void)
{
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned int *n)
{
    const char *text = getenv("LX_FAKE_NVML_GPUS");
    *n = text ? (unsigned int)atoi(text) : 2;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int i, void **device)
{
    *device = i < 2 ? &devices[i] : NULL;
    return i < 2 ? SUCCESS : INVALID;
}

int nvmlDeviceGetName(void *device, char *name, unsigned int n)
{
    strncpy(name, device == &devices[0] ? "Fake RTX 3060" : "Fake Tesla T4", n);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *device, memory *out)
{
    static unsigned long long used = 1000;
    out->total = device == &devices[0] ? 12884901888ull : 16106127360ull;
    out->used = used += 1000;
    out->free = out->total - out->used;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *device, utilisation *out)
{
    out->gpu = 97;
    out->memory = 50;
    return device == &devices[0] ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned int *milliwatts)
{
    *milliwatts = 170500;
    return device == &devices[0] ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned int *degrees)
{
    (void)device;
    *degrees = 61;
    return sensor == 0 ? SUCCESS : INVALID;
}

int nvmlSystemGetDriverVersion(char *version, unsigned int n)
{
    strncpy(version, "555.42", n);
    return SUCCESS;
}
