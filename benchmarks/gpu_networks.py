"""Takes symnet on a device and on the CPU, hands on the costs of the book's four networks on both, and how
far apart they are."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from measure import Kept
from systems import BenchmarkError, System
from workloads import networks

STEPS, SMALL_STEPS = 30, 2
# How far costs may be apart, as a share: sums of float32 are added in another order, and steps go on from
# what they gave. Masks of dropout are the same bits on all devices.
TOLERANCE = 1e-3


def trained(ours: System, reference: System, kept: Kept, small: bool) -> Iterator[tuple[str, dict]]:
    """By network, {"costs", "costs on the CPU", "largest difference" (a share), "map is equal", "errors"}.

    Each network makes some steps by f(i) on both, and the same by one f.map on the device, whose costs must
    be those of f(i) bit for bit.
    """
    steps = SMALL_STEPS if small else STEPS
    size = 2 if small else networks.MINI_BATCH_SIZES[0]
    for network in networks.NETWORKS:
        settings = {
            "network": f"small-{network}" if small else network,
            "mini_batch_size": size,
            "images": steps * size if small else networks.IMAGES,
        }
        by_call = {"kind": "training_step", "settings": settings, "calls": steps}
        by_map = {"kind": "training_steps", "settings": {**settings, "steps": steps}, "calls": 1}
        try:
            with ThreadPoolExecutor(1) as pool:
                expected = pool.submit(kept.process(reference).ask, "train", **by_call)
                costs = kept.process(ours).ask("train", **by_call)["costs"]
                mapped = kept.process(ours).ask("train", **by_map)["costs"]
                wanted = expected.result()["costs"]
        except BenchmarkError as error:
            kept.close()
            yield network, {"errors": {ours.name: str(error)}}
            continue
        yield network, compared(costs, mapped, wanted)


def compared(costs: list[float], mapped: list[float], wanted: list[float]) -> dict:
    """The line of a network, given its costs by f(i), by f.map, and on the CPU."""
    errors = {}
    shares = [abs(a - b) / abs(b) for a, b in zip(costs, wanted, strict=True)]
    apart = max(shares, key=lambda share: (share != share, share))  # NaN above all
    if not apart <= TOLERANCE:
        errors["costs"] = f"they are {apart:.2g} apart from the CPU's, and {TOLERANCE:.2g} is allowed"
    if mapped != costs:
        errors["map"] = "f.map does not give what f(i) does"
    return {
        "costs": costs,
        "costs on the CPU": wanted,
        "largest difference": apart,
        "map is equal": mapped == costs,
        "errors": errors,
    }
