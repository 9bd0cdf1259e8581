"""What every Python contender of the bench shares: the line protocol of bench/lib/protocol.ts, the deterministic data, the timing loop."""
import json
import sys
import time

import numpy as np


class Unsupported(Exception):
    pass


def _unit(n, seed):
    """[0, 1): the numbers of bench/lib/data.ts."""
    x = (np.arange(n, dtype=np.uint32) * np.uint32(4)) + np.uint32(seed)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    return (x >> np.uint32(8)).astype(np.float32) * np.float32(1 / 16777216)


def floats(shape, seed):
    return (_unit(int(np.prod(shape)), seed) * np.float32(2) - np.float32(1)).reshape(shape)


def sparse_floats(shape, seed, sparsity):
    n = int(np.prod(shape))
    return np.where(_unit(n, seed + 1) < np.float32(sparsity), np.float32(0), floats((n,), seed)).reshape(shape)


def bell_floats(n, seed):
    return _unit(n, seed) + _unit(n, seed + 1) + _unit(n, seed + 2) - np.float32(1.5)


def sample(calls, ms):
    """Calls that warm up for half a sample's time, then calls for about ms; ns per call (rules: contender.h)."""
    turn = sample.turn
    clock = time.perf_counter_ns

    def step():
        nonlocal turn
        calls[turn % len(calls)]()
        turn += 1

    try:
        start = begin = clock()
        while True:
            step()
            end = clock()
            once = max(1, end - begin)
            if once > 20e6:
                return once
            begin = end
            if end - start > 0.5e6 * ms:
                break
        n = max(1, int(ms * 1e6 / once))
        for tries in range(5):
            begin = clock()
            for _ in range(n):
                step()
            spent = clock() - begin
            if spent > ms * 0.5e6 or tries == 4:
                return spent / n
            n = int(n * min(16, ms * 1e6 / max(1, spent))) + 1
    finally:
        sample.turn = turn


sample.turn = 0


def _status(field):
    with open("/proc/self/status") as f:
        return next((int(line.split()[1]) * 1024 for line in f if line.startswith(field)), 0)


def reset_peak():
    """Highest resident memory is counted from here on (Linux)."""
    with open("/proc/self/clear_refs", "w") as f:
        f.write("5")
    reset_peak.start = _status("VmRSS")


def peak_growth():
    """Bytes by which resident memory grew at most since reset_peak."""
    return _status("VmHWM") - reset_peak.start


def with_peak(calls, check):
    """Calls, check, and the peak from reset_peak() to the end of two calls."""
    for _ in range(2):
        calls[0]()
    return calls, check, peak_growth()


def serve(hello, prepare):
    """prepare(kernel, threads, params) -> (calls, check or None) or (calls, check, peak bytes); raises Unsupported for what it cannot run."""
    slots = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            op, slot = request["op"], request.get("slot", 0)
            if op == "hello":
                reply = hello
            elif op == "prepare":
                slots.pop(slot, None)
                slots[slot], check, *peak = prepare(request["kernel"], request["threads"], request["params"])
                reply = {"ok": True} if check is None else {"ok": True, "check": float(check)}
                if peak:
                    reply["peak"] = peak[0]
            elif op == "sample":
                reply = {"ns": sample(slots[slot], request["ms"])}
            elif op == "release":
                slots.clear()
                reply = {"ok": True}
            else:
                raise ValueError("unknown op " + op)
        except Unsupported as e:
            reply = {"unsupported": str(e)}
        except Exception as e:  # reported to the harness
            reply = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps({"id": request["id"], **reply}), flush=True)
