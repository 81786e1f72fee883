"""What a scrape costs, beside an answer of the same server that asks nobody."""

import time
import urllib.error
import urllib.request
from statistics import median

import numpy as np
import psutil

from ich_node.demo.node import DemoNode

PLAIN = "/nothing"  # answered with 404, without a look at the database
PATHS = {"plain answer": PLAIN, "/health": "/health", "/metrics": "/metrics"}
Figures = dict[str, float]


def measure_web(node: DemoNode, *, tries: int = 100) -> dict[str, Figures]:
    """Ask for each so often, in turns; the process's memory and processor time are after all of it.

    `ratio` is to the plain answer, try by try.
    """
    process = _serving(node.web_port)
    seconds: dict[str, list[float]] = {name: [] for name in PATHS}
    sizes: dict[str, int] = {}
    spent = dict.fromkeys(PATHS, 0.0)
    for _ in range(tries):
        for name, path in PATHS.items():
            before, begun = _cpu_s(process), time.perf_counter()
            sizes[name] = len(_get(node.web_port, path))
            seconds[name].append(time.perf_counter() - begun)
            spent[name] += _cpu_s(process) - before
    plain = seconds["plain answer"]
    return {
        name: {
            "p50_ms": 1000 * float(np.percentile(those, 50)),
            "p95_ms": 1000 * float(np.percentile(those, 95)),
            "ratio": median(one / other for one, other in zip(those, plain, strict=True)),
            "cpu_ms": 1000 * spent[name] / tries,
            "bytes": sizes[name],
            "rss_mb": process.memory_info().rss / 1e6,
        }
        for name, those in seconds.items()
    }


def _get(port: int, path: str) -> bytes:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return bytes(error.read())


def _serving(port: int) -> psutil.Process:
    (listening,) = {
        one.pid for one in psutil.net_connections("tcp") if one.laddr.port == port and one.status == "LISTEN"
    }
    return psutil.Process(listening)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
