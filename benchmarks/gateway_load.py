"""Load on a gateway: how long submit, status and result take, and what a page costs it, with a dummy engine.

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
from typing import Any

import httpx
from sqlalchemy import Connection, select

from pero_worker.gateway.states import Api, Backend
from pero_worker.gateway.store.creation import NewJob, NewPage, create_job
from pero_worker.gateway.store.database import Database
from pero_worker.gateway.store.schema import keys

MAX_UPLOAD_MB, MAX_STREAMS_MB = 64, 100
PROGRAM = (sys.executable, "-m", "pero_worker")
CONFIG = "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\nLINE = one line\n"


def jpeg(size: int) -> bytes:
    """Returns a small picture with a megabyte appended to it."""
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


async def requests_alone(url: str, key: str, pid: int, count: int) -> None:
    """Measures what each of the requests around a page costs by itself."""
    async with httpx.AsyncClient(base_url=url, headers={"X-API-Key": key}, timeout=600) as client:
        body = {"images": [{"name": "a.jpg", "order": 0}]}
        job = (await client.post("/v1/jobs", json=body)).json()["data"]["id"]
        asks: dict[str, Callable[[], Awaitable[httpx.Response]]] = {
            "submit": lambda: client.post("/v1/jobs", json=body),
            "status": lambda: client.get(f"/v1/jobs/{job}"),
        }
        told = []
        for name, ask in asks.items():
            cpu = cpu_seconds(pid)
            for _ in range(count):
                (await ask()).raise_for_status()
            told.append(f"{name} {1000 * (cpu_seconds(pid) - cpu) / count:.1f}")
    print(f"requests alone: {', '.join(told)} ms CPU")


async def upload_only(url: str, key: str, pid: int, pages: int, scan: bytes, *, form: bool) -> None:
    """Measures what accepting a page costs, without polls and results."""
    async with httpx.AsyncClient(base_url=url, headers={"X-API-Key": key}, timeout=600) as client:
        body = {"images": [{"name": f"{number}.jpg", "order": number} for number in range(pages + 1)]}
        job = (await client.post("/v1/jobs", json=body)).json()["data"]["id"]
        cpu = cpu_seconds(pid)
        for number in range(pages):
            path = f"/v1/jobs/{job}/images/{number}.jpg/files/image"
            raw = {"content": scan, "headers": {"Content-Type": "image/jpeg"}}
            more: dict[str, Any] = {"files": {"file": ("a.jpg", scan)}} if form else raw
            (await client.put(path, **more)).raise_for_status()
        how, used = "a form" if form else "a raw body", 1000 * (cpu_seconds(pid) - cpu) / pages
        print(f"taking a page of {len(scan) / 1e6:.0f} MB as {how}: {used:.1f} ms CPU")
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
        more = memory(pid, "VmHWM") - before
        print(f"an upload of 200 MB: {more:.0f} MB more memory at its peak")
        if more > MAX_UPLOAD_MB:
            raise SystemExit(f"an upload may take {MAX_UPLOAD_MB} MB")


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
        more = memory(pid) - before
        print(f"{count} idle event streams: {more:.0f} MB, {100 * used / 10:.1f} % of a core")
        if more > MAX_STREAMS_MB:
            raise SystemExit(f"{count} streams may take {MAX_STREAMS_MB} MB")
        for stream, _ in opened:
            await stream.__aexit__(None, None, None)


def fill(database: str, jobs: int, pages: int) -> str:
    """Writes jobs of one page each, and one of many pages, straight into the database; returns the id of the latter."""
    store = Database(database)
    with store.read() as connection:
        owner = connection.execute(select(keys.c.id)).scalar_one()

    def made(connection: Connection, count: int) -> str:
        own = [NewPage(name=f"{number}.jpg", position=number) for number in range(count)]
        return create_job(
            connection, NewJob(api=Api.V1, owner=owner, engine=None, backend=Backend.LEASE, pages=own), 1.0
        )

    with store.write() as connection:
        for _ in range(jobs):
            made(connection, 1)
        long = made(connection, pages)
    store.close()
    return long


async def many(url: str, key: str, pid: int, database: str) -> None:
    """Lists 10,000 jobs of one page each, and a job of 10,000 pages, from first to last."""
    long = fill(database, 10_000, 10_000)
    async with httpx.AsyncClient(base_url=url, headers={"X-API-Key": key}, timeout=600) as client:
        for name, path in (("jobs", "/v1/jobs"), ("pages", f"/v1/jobs/{long}/pages")):
            cursor: int | None = 0
            took: list[float] = []
            found, before, cpu = 0, memory(pid), cpu_seconds(pid)
            while cursor is not None:
                query = {"limit": 500, **({"cursor": cursor} if cursor else {})}
                begun = time.perf_counter()
                data = (await client.get(path, params=query)).raise_for_status().json()["data"]
                took.append(1000 * (time.perf_counter() - begun))
                found, cursor = found + len(data["items"]), data.get("next")
            used, more = cpu_seconds(pid) - cpu, memory(pid) - before
            ends = f"first {took[0]:.0f} ms, last {took[-1]:.0f} ms"
            print(f"{found} {name} in lists of 500: {ends}, {used:.2f} s CPU in all, {more:.0f} MB more memory")


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
            asyncio.run(requests_alone(url, key, process.pid, 200))
            for form in (False, True):
                asyncio.run(upload_only(url, key, process.pid, 100, scan, form=form))
            for clients in map(int, given.clients.split(",")):
                asyncio.run(load(url, key, process.pid, clients, given.pages, scan))
            asyncio.run(big_upload(url, key, process.pid))
            asyncio.run(streams(url, key, process.pid, 1000))
            asyncio.run(many(url, key, process.pid, given.database or f"sqlite:///{home / 'data/gateway.sqlite'}"))
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
