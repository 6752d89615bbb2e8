"""Provider calls and sessions in sixteen threads; what the process holds, as JSON lines.

    PYTHONPATH=. python tests/provider_soak.py CALLS

makes CALLS calls, a tenth of which come from sessions that are made for ten calls and then ended,
and prints a line at the end of each tenth of the work.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import psutil

from nvmc.hardware.devices import Periphery, Target, load_device, parse_noise
from nvmc.runtime.provider import make_session
from provider_networks import batch, codes_of, network

THREADS = 16
TENTHS = 10
CALLS_OF_A_SESSION = 10

TEXT = """g (float[N, 32] x, float[N, 32] z) => (float[N, 32] y) {
  a = nvmc.CrossbarMatMul <arrays = ["w"]> (x, w_codes, w_scale)
  b = nvmc.CrossbarMatMul <arrays = ["v"]> (a, v_codes, v_scale)
  d = nvmc.CrossbarMatMul <arrays = ["w"]> (z, w_codes, w_scale)
  y = Add (b, d)
}"""


def content() -> bytes:
    """Two arrays behind DAC and ADC with noise of reads, one of them read by two nodes."""
    scale = np.float32(0.5).reshape(())
    weights = {"w_codes": codes_of((32, 32)), "w_scale": scale}
    weights |= {"v_codes": codes_of((32, 32), 1), "v_scale": scale}
    periphery = Periphery.model_validate({"dac_bits": 6, "adc_bits": 8})
    target = Target.of(load_device("fefet2"), rows=16, periphery=periphery)
    noisy = target.on(None, [parse_noise("read:basis=level,sigma=0.2")])
    return network(TEXT, weights, noisy, functions=("CrossbarMatMul",))


def main(calls: int) -> None:
    """Make so many calls, and say after each tenth of them what the process holds."""
    model, feeds = content(), {"x": batch(8, 32, seed=1), "z": batch(8, 32, seed=2)}
    shared = make_session(model, quiet=True)
    of_shared = calls * 9 // 10 // TENTHS // THREADS
    sessions = calls // CALLS_OF_A_SESSION // 10 // TENTHS

    def call(_: int) -> None:
        for _ in range(of_shared):
            shared.run(None, feeds)

    def session(number: int) -> None:
        own = make_session(model, chip=number % 7, quiet=True)
        for _ in range(CALLS_OF_A_SESSION):
            own.run(None, feeds)
        with suppress(Exception):  # a failing call leaves nothing behind either
            own.run(None, {**feeds, "x": np.zeros((8, 31), np.float32)})

    started, done, made = time.monotonic(), 0, 0
    for _ in range(TENTHS):
        with ThreadPoolExecutor(THREADS) as pool:  # its threads end with the block
            list(pool.map(call, range(THREADS)))
            list(pool.map(session, range(sessions)))
        done += of_shared * THREADS + sessions * CALLS_OF_A_SESSION
        made += sessions
        print(json.dumps(held(done, made, time.monotonic() - started)), flush=True)


def held(calls: int, sessions: int, seconds: float) -> dict[str, Any]:
    """What the process holds after that work."""
    gc.collect()
    process = psutil.Process()
    return {
        "calls": calls,
        "sessions": sessions,
        "rss_mb": round(process.memory_info().rss / 2**20, 1),
        "threads": process.num_threads(),
        "files": process.num_fds(),
        "blocks": sys.getallocatedblocks(),
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main(int(sys.argv[1]))
