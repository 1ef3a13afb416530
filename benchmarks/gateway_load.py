"""Load on a gateway: how long submit, status and result take, and what a page costs it; a dummy engine does the pages.

python benchmarks/gateway_load.py [--clients 1,10,100] [--pages 200]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

PROGRAM = (sys.executable, "-m", "pero_worker")
CONFIG = "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\nLINE = one line\n"


def jpeg(size: int) -> bytes:
    """A small picture with a megabyte behind it."""
    import io  # noqa: PLC0415

    from PIL import Image  # noqa: PLC0415

    stream = io.BytesIO()
    Image.new("L", (400, 300), 255).save(stream, "JPEG")
    return stream.getvalue() + random.Random(1).randbytes(size - stream.tell())


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int, what: str = "VmRSS") -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024


class Timed:
    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    async def call(self, name: str, ask: Callable[[], Awaitable[httpx.Response]], *expected: int) -> httpx.Response:
        begun = time.perf_counter()
        reply = await ask()
        self.seconds.setdefault(name, []).append(time.perf_counter() - begun)
        if reply.status_code not in expected:
            raise SystemExit(f"{name}: {reply.text}")
        return reply

    def show(self) -> None:
        for name, values in self.seconds.items():
            values.sort()
            p99 = values[min(len(values) - 1, int(0.99 * len(values)))]
            print(f"    {name:8} p50 {1000 * statistics.median(values):7.1f} ms   p99 {1000 * p99:7.1f} ms")


async def one_client(client: httpx.AsyncClient, pages: int, scan: bytes, timed: Timed) -> None:
    for number in range(pages):
        await one_page(client, f"{number}.jpg", scan, timed)


async def one_page(client: httpx.AsyncClient, name: str, scan: bytes, timed: Timed) -> None:
    body = {"images": [{"name": name, "order": 0}]}
    made = await timed.call("submit", lambda: client.post("/v1/jobs", json=body), 201)
    job = made.json()["data"]["id"]
    image = f"/v1/jobs/{job}/images/{name}/files/image"
    await timed.call("upload", lambda: client.put(image, files={"file": (name, scan)}), 201)
    while True:
        seen = await timed.call("status", lambda: client.get(f"/v1/jobs/{job}"), 200)
        if seen.json()["data"]["state"] == "done":
            break
        await asyncio.sleep(0.2)
    await timed.call("result", lambda: client.get(f"/v1/jobs/{job}/pages/{name}/results/alto"), 200)


async def load(url: str, key: str, pid: int, clients: int, pages: int, scan: bytes) -> None:
    timed = Timed()
    limits = httpx.Limits(max_connections=clients)
    headers = {"X-API-Key": key}
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=600) as client:
        cpu, begun = cpu_seconds(pid), time.perf_counter()
        each = max(1, pages // clients)
        await asyncio.gather(*(one_client(client, each, scan, timed) for _ in range(clients)))
        took, used = time.perf_counter() - begun, cpu_seconds(pid) - cpu
    print(f"{clients} clients, {each * clients} pages of {len(scan) / 1e6:.0f} MB: {each * clients / took:.1f} pages/s")
    polls = len(timed.seconds["status"])
    print(f"    the gateway's CPU: {1000 * used / (each * clients):.1f} ms a page, {polls} polls included")
    timed.show()


async def upload_only(url: str, key: str, pid: int, pages: int, scan: bytes) -> None:
    """What taking a page costs, without polls and results."""
    async with httpx.AsyncClient(base_url=url, headers={"X-API-Key": key}, timeout=600) as client:
        body = {"images": [{"name": f"{number}.jpg", "order": number} for number in range(pages + 1)]}
        job = (await client.post("/v1/jobs", json=body)).json()["data"]["id"]
        cpu = cpu_seconds(pid)
        for number in range(pages):
            path = f"/v1/jobs/{job}/images/{number}.jpg/files/image"
            (await client.put(path, content=scan, headers={"Content-Type": "image/jpeg"})).raise_for_status()
        print(f"taking a page of {len(scan) / 1e6:.0f} MB: {1000 * (cpu_seconds(pid) - cpu) / pages:.1f} ms CPU")
        await client.delete(f"/v1/jobs/{job}")


async def big_upload(url: str, key: str, pid: int) -> None:
    async def pieces(size: int, head: bytes):  # type: ignore[no-untyped-def]
        yield head
        for _ in range(size // 1_000_000):
            yield bytes(1_000_000)

    async with httpx.AsyncClient(base_url=url, headers={"X-API-Key": key}, timeout=600) as client:
        job = (await client.post("/v1/jobs", json={"images": [{"name": "a.jpg", "order": 0}]})).json()["data"]["id"]
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        before = memory(pid)
        path = f"/v1/jobs/{job}/images/a.jpg/files/image"
        content = pieces(200_000_000, jpeg(10_000))
        reply = await client.put(path, content=content, headers={"Content-Type": "image/jpeg"})
        reply.raise_for_status()
        print(f"an upload of 200 MB: {memory(pid, 'VmHWM') - before:.0f} MB more memory at its peak")


async def streams(url: str, key: str, pid: int, count: int) -> None:
    before = memory(pid)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, headers={"X-API-Key": key}, timeout=600, limits=limits) as client:
        opened = []
        for _ in range(count):
            stream = client.stream("GET", "/v1/events")
            response = await stream.__aenter__()
            opened.append((stream, response.aiter_bytes()))
            await anext(opened[-1][1])
        cpu = cpu_seconds(pid)
        await asyncio.sleep(10)
        used = cpu_seconds(pid) - cpu
        print(f"{count} idle event streams: {memory(pid) - before:.0f} MB, {100 * used / 10:.1f} % of a core")
        for stream, _ in opened:
            await stream.__aexit__(None, None, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", default="1,10,100")
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--database", default="")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with tempfile.TemporaryDirectory(prefix="pero-gateway-") as folder:
        home = Path(folder)
        (home / "dummy").mkdir()
        (home / "dummy/config.ini").write_text(CONFIG)
        where = ["--data", str(home / "data"), *(["--database", given.database] if given.database else [])]
        command = [*PROGRAM, "gateway", *where, "--port", "0", "-p", str(home / "dummy"), "-j", "1", "--quiet"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            url = (process.stdout or sys.stdin).readline().removeprefix("listening on ").strip()
            key = subprocess.run(
                [*PROGRAM, "keys", "add", "load", *where], check=True, capture_output=True, text=True
            ).stdout.strip()
            scan = jpeg(1_000_000)
            asyncio.run(upload_only(url, key, process.pid, 50, scan))
            for clients in map(int, given.clients.split(",")):
                asyncio.run(load(url, key, process.pid, clients, given.pages, scan))
            asyncio.run(big_upload(url, key, process.pid))
            asyncio.run(streams(url, key, process.pid, 1000))
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
