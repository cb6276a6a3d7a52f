"""Takes the first CUDA device, hands on what it is and what it can do at the most, by its own attributes."""

# Multiply-adds of float32 that a multiprocessor begins in a cycle, by compute capability; after the
# "Arithmetic Instructions" table of the CUDA C++ Programming Guide.
LANES = {(7, 0): 64, (7, 5): 64, (8, 0): 64}
NEWER_LANES = 128


def description():
    """Name, compute capability, multiprocessors, memory in bytes, versions of driver and CUDA; and, where the
    driver tells its clocks, the peaks: "flops" (float32, a second) and "bandwidth" (bytes a second)."""
    from cuda.bindings import driver

    _called(driver.cuInit(0))
    device = _called(driver.cuDeviceGet(0))
    kinds = driver.CUdevice_attribute

    def attribute(name):
        return _called(driver.cuDeviceGetAttribute(getattr(kinds, f"CU_DEVICE_ATTRIBUTE_{name}"), device))

    compute = (attribute("COMPUTE_CAPABILITY_MAJOR"), attribute("COMPUTE_CAPABILITY_MINOR"))
    count = attribute("MULTIPROCESSOR_COUNT")
    found = {
        "name": _called(driver.cuDeviceGetName(256, device)).split(b"\0")[0].decode(),
        "compute capability": f"{compute[0]}.{compute[1]}",
        "multiprocessors": count,
        "memory": _called(driver.cuDeviceTotalMem(device)),
        "L2 cache": attribute("L2_CACHE_SIZE"),
        "CUDA of the driver": _called(driver.cuDriverGetVersion()),
    }
    # Clocks are in kHz; a memory's clock moves two words a cycle.
    clock, memory_clock = attribute("CLOCK_RATE"), attribute("MEMORY_CLOCK_RATE")
    if clock:
        found["flops"] = 2e3 * clock * count * LANES.get(compute, NEWER_LANES)
    if memory_clock:
        found["bandwidth"] = 2e3 * memory_clock * attribute("GLOBAL_MEMORY_BUS_WIDTH") / 8
    return found


def _called(answer):
    """What a call of the driver's gave, but its status, which must be 0."""
    status, *values = answer
    if status != 0:
        raise RuntimeError(f"the CUDA driver answered {status!r}")
    return values[0] if values else None
