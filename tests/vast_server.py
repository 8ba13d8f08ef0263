"""Vast.ai's REST contract on loopback, with machines that are real: each is an OpenSSH server of its own.

It keeps its own bill and its own list of what lives, and can be told to misbehave. The contract is that of Vast's
documentation and of what its own SDK sends.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import secrets
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from aiohttp import web
from ssh_server import SSHServer
from ssh_watch import kill_marked

KEY = "account-key"

PRICE = 0.0001
"""Dollars per gigabyte of traffic."""

IMAGE_GB = 9.0
"""Fetched by every machine before anything else."""


@dataclass
class Instance:
    """A rented machine."""

    id: int
    offer: dict[str, Any]
    label: str
    folder: Path
    onstart: str
    key: str
    began: float
    server: SSHServer | None = None
    status: str = "loading"
    running_since: float | None = None
    ended: float | None = None
    destroyed_by: str = ""
    labels: list[str] = field(default_factory=list)
    deaf: bool = False
    """Lets nobody in."""
    listed_from: float = 0.0
    """Lists come after it, some of them late."""
    port: int = 0
    """Of its line, over which everything goes to its server."""
    line: asyncio.Server | None = None
    sent: int = 0
    received: int = 0
    """Bytes over its line."""
    base_gb: float = 0.0
    """Fetched by what runs on it."""
    disk_gb: float = 0.0

    def cost(self, now: float) -> float:
        """Dollars so far: storage from the beginning, the GPU while it runs, per second; and traffic, both ways."""
        until = self.ended or now
        storage = self.offer["storage_total_cost"] / 3600
        runs = 0.0 if self.running_since is None else until - self.running_since
        rent = (until - self.began - runs) * storage + runs * self.offer["dph_total"] / 3600
        down = (IMAGE_GB + self.base_gb + self.received / 1e9) * self.offer["inet_down_cost"]
        return rent + down + self.sent / 1e9 * self.offer["inet_up_cost"]


@dataclass
class Chaos:
    """What goes wrong, as probabilities per call or machine; drawn from *draw*."""

    draw: random.Random = field(default_factory=lambda: random.Random(0))
    error: float = 0.0
    """500 without an effect."""
    lost: float = 0.0
    """The effect, and a 500 in its place."""
    cut: float = 0.0
    """The effect, and the connection is closed without an answer."""
    twice: float = 0.0
    """Carried out twice; the second answer comes."""
    slow: float = 0.0
    """An answer after a second."""
    no_list: float = 0.0
    """404 in place of a list."""
    late: float = 0.0
    """Is in no list for its first second."""
    never_ready: float = 0.0
    """Loads for ever."""
    dead: float = 0.0
    """Exits while it is loading."""
    no_ssh: float = 0.0
    """Runs, and lets nobody in."""
    full: float = 0.0
    """Takes no files."""
    vanish: float = 0.0
    """Goes offline some seconds after it runs."""


@dataclass
class Fault:
    """What happens to the next calls of a kind."""

    method: str
    path: str
    """A part of it."""
    kind: str | int
    """A field of `Chaos`, ``pretend`` (yes, and nothing is done), ``late`` (done, after a while), or a status that refuses."""
    times: int = 1
    words: str = "oops"
    done: bool = False
    """Carried out all the same, where the kind is a status."""
    after: "Fault | None" = None
    """Begins when this one is over."""


class VastServer:
    """Runs in a thread; a context manager."""

    def __init__(self, folder: Path, *, offers: int = 8, load_seconds: float = 0.3, chaos: Chaos | None = None) -> None:
        self.folder = folder
        self.chaos = chaos or Chaos()
        self.load_seconds = load_seconds
        self.calls: list[tuple[str, str]] = []
        self.instances: dict[int, Instance] = {}
        self.offers = [self._offer(number) for number in range(offers)]
        self.faults: list[Fault] = []
        self.account: dict[str, Any] = {"credit": 100.0, "balance": 100.0}
        """What it says of the user."""
        self.twins = 0
        """So many of the next calls to rent are carried out on two offers."""
        self.bad: dict[int, str] = {}
        """What is wrong with the machine of an offer: ``never_ready``, ``dead``, ``no_ssh`` or ``full``."""
        self.lag = 0.0
        """Seconds until a machine is in a list."""
        self._next = 10_000 + 1_000 * secrets.randbelow(10_000)  # no machine of another server has its number
        self._guard = threading.RLock()
        self._loop = asyncio.new_event_loop()
        self._stopping = threading.Event()
        self.url = ""

    @staticmethod
    def _offer(number: int) -> dict[str, Any]:
        return {
            "id": 100 + number, "ask_contract_id": 100 + number, "machine_id": 500 + number, "host_id": 50 + number,
            "num_gpus": 1, "gpu_name": "RTX 4090", "gpu_ram": 24564, "dph_total": 0.4 + 0.01 * number,
            "storage_total_cost": 0.02, "reliability2": 0.99, "inet_down": 800.0, "inet_up": 700.0,
            "inet_down_cost": PRICE, "inet_up_cost": PRICE, "disk_space": 200.0, "cuda_max_good": 12.9,
            "direct_port_count": 4, "geolocation": "Texas, US", "verification": "verified", "rentable": True,
            "rented": False, "hosting_type": 1,
        }  # fmt: skip

    # -- life ----------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for instance in list(self.instances.values()):
            self.end(instance, "the end of the test")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(middlewares=[self._middle])
        app.router.add_get("/api/v0/users/current", self._user)
        app.router.add_post("/api/v0/bundles/", self._search)
        app.router.add_put("/api/v0/asks/{offer}/", self._create)
        app.router.add_get("/api/v0/instances/{id}/", self._show)
        app.router.add_get("/api/v1/instances/", self._list)
        app.router.add_put("/api/v0/instances/{id}/", self._label)
        app.router.add_delete("/api/v0/instances/{id}/", self._destroy)
        app.router.add_post("/api/v0/instances/{id}/ssh/", self._attach)

        runner = web.AppRunner(app, shutdown_timeout=0.5)

        async def start() -> None:
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
            ready.set()

        self._loop.run_until_complete(start())
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        lines = asyncio.all_tasks(self._loop)
        for each in lines:
            each.cancel()
        self._loop.run_until_complete(asyncio.gather(*lines, return_exceptions=True))
        self._loop.close()

    @web.middleware
    async def _middle(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.calls.append((request.method, request.path))
        fault = self._fault(request)
        if fault is not None and fault.kind not in {"lost", "cut", "twice", "slow", "late"}:
            status = fault.kind if isinstance(fault.kind, int) else 200 if fault.kind == "pretend" else 500
            body = {"success": status == 200, "error": "fault", "msg": fault.words}
            if fault.done:
                await handler(request)
            return web.json_response(body, status=status)
        kind = fault.kind if fault is not None else self._chance("twice", "slow", "cut", "lost", "error")
        if kind == "error":
            return web.json_response({"success": False, "error": "internal", "msg": "oops"}, status=500)
        if kind == "late":
            await asyncio.sleep(2.5)
        if kind == "twice":
            with contextlib.suppress(web.HTTPException):
                await handler(request)
        answer = await handler(request)
        if kind == "slow":
            await asyncio.sleep(1)
        if kind == "cut" and request.transport is not None:
            request.transport.close()
        if kind == "lost":
            return web.json_response({"success": False, "error": "internal", "msg": "oops"}, status=500)
        return answer

    def _fault(self, request: web.Request) -> Fault | None:
        for fault in self.faults:
            waits = fault.after is not None and fault.after.times
            if fault.times and not waits and fault.method == request.method and fault.path in request.path:
                fault.times -= 1
                return fault
        return None

    def _chance(self, *kinds: str) -> str:
        """One of *kinds*, or nothing."""
        number = self.chaos.draw.random()
        for kind in kinds:
            number -= getattr(self.chaos, kind)
            if number < 0:
                return kind
        return ""

    def _who(self, request: web.Request) -> str:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token == KEY:
            return "owner"
        for instance in self.instances.values():
            if instance.key == token:
                return f"machine {instance.id}"
        raise web.HTTPUnauthorized(
            text=json.dumps({"success": False, "error": "auth_error", "msg": "Invalid user key"})
        )

    def _owner(self, request: web.Request) -> None:
        """The key of a machine may start, stop and destroy that machine, and nothing else."""
        if self._who(request) != "owner":
            raise web.HTTPForbidden(text=json.dumps({"success": False, "error": "forbidden", "msg": "not allowed"}))

    # -- the contract ------------------------------------------------------------------------------------------------

    async def _user(self, request: web.Request) -> web.Response:
        self._owner(request)
        return web.json_response({"id": 7, "email": "me@example.com", "ssh_key": "", "sid": "", **self.account})

    async def _search(self, request: web.Request) -> web.Response:
        self._owner(request)
        asked = await request.json()
        rented = {each.offer["id"] for each in self.living()}
        found = [each for each in self.offers if each["id"] not in rented and _matches(each, asked)]
        return web.json_response(
            {"offers": sorted(found, key=lambda each: each["dph_total"])[: asked.get("limit", 64)]}
        )

    async def _create(self, request: web.Request) -> web.Response:
        self._owner(request)
        asked = await request.json()
        offer = next((each for each in self.offers if each["id"] == int(request.match_info["offer"])), None)
        with self._guard:
            if offer is None or any(each.offer["id"] == offer["id"] for each in self.living()):
                return web.json_response({"success": False, "error": "no_such_ask", "msg": "not available"}, status=410)
            assert asked["runtype"] == "ssh_direc ssh_proxy", asked
            assert len(asked["onstart"]) <= 4096
            assert len(asked["label"]) <= 256
            instance = self.rent(offer, asked["label"], asked["onstart"])
            instance.disk_gb = asked["disk"]
            if self.twins:
                self.twins -= 1
                self.rent(self.offers[-1], asked["label"], asked["onstart"])
        return web.json_response({"success": True, "new_contract": instance.id, "instance_api_key": instance.key})

    async def _show(self, request: web.Request) -> web.Response:
        self._owner(request)
        instance = self.instances.get(int(request.match_info["id"]))
        shown = None if instance is None or instance.ended else _row(instance)
        return web.json_response({"instances": shown})

    async def _list(self, request: web.Request) -> web.Response:
        self._owner(request)
        limit, after = int(request.query.get("limit", 25)), int(request.query.get("after_token") or 0)
        if self._chance("no_list"):
            raise web.HTTPNotFound(text=json.dumps({"success": False, "error": "not_found", "msg": "oops"}))
        listed = [each for each in self.living() if each.listed_from <= time.time()]
        living = sorted((each for each in listed if each.id > after), key=lambda each: each.id)
        page = living[:limit]
        return web.json_response(
            {
                "success": True,
                "instances": [_row(each) for each in page],
                "instances_found": len(living),
                "next_token": str(page[-1].id) if len(living) > limit else None,
                "total_instances": len(living),
                "label_counts": {},
            }
        )

    async def _label(self, request: web.Request) -> web.Response:
        self._owner(request)
        instance = self._living(request)
        instance.label = (await request.json())["label"]
        instance.labels.append(instance.label)
        return web.json_response({"success": True})

    async def _destroy(self, request: web.Request) -> web.Response:
        who = self._who(request)
        instance = self._living(request)
        if who not in {"owner", f"machine {instance.id}"}:
            raise web.HTTPForbidden(text=json.dumps({"success": False, "error": "forbidden", "msg": "not yours"}))
        # In a thread: a machine that destroys itself waits for the answer while its processes are ended.
        threading.Thread(target=self.end, args=(instance, who), daemon=True).start()
        instance.ended = time.time()
        instance.destroyed_by = who
        return web.json_response({"success": True})

    async def _attach(self, request: web.Request) -> web.Response:
        self._owner(request)
        instance = self._living(request)
        key = (await request.json())["ssh_key"]
        keys = instance.folder / "keys"
        keys.write_text(f"{keys.read_text()}{key}\n")
        if instance.server is not None and instance.status == "running" and not instance.deaf:
            instance.server.let_in(key)
        return web.json_response({"success": True, "msg": "ok"})

    def _living(self, request: web.Request) -> Instance:
        instance = self.instances.get(int(request.match_info["id"]))
        if instance is None or instance.ended:
            words = {"success": False, "error": "no_such_instance", "msg": "no such instance"}
            raise web.HTTPNotFound(text=json.dumps(words), content_type="application/json")
        return instance

    # -- machines ------------------------------------------------------------------------------------------------------

    def rent(self, offer: dict[str, Any], label: str, onstart: str) -> Instance:
        self._next += 1
        folder = self.folder / str(self._next)
        folder.mkdir(parents=True)
        (folder / "keys").touch()
        instance = Instance(
            self._next, offer, label, folder, onstart, f"key-of-{self._next}", time.time(), labels=[label]
        )
        late = self.chaos.draw.uniform(0.2, 1.2) if self._chance("late") else 0.0
        instance.listed_from = instance.began + max(self.lag, late)
        self.instances[instance.id] = instance
        threading.Thread(target=self._boot, args=(instance,), daemon=True).start()
        return instance

    def _boot(self, instance: Instance) -> None:
        draw, chaos = self.chaos.draw, self.chaos
        time.sleep(self.load_seconds)
        bad = self.bad.get(instance.offer["id"]) or self._chance("never_ready", "dead", "no_ssh", "full")
        if bad == "never_ready" or instance.ended:
            return
        if bad == "dead":
            instance.status = "exited"
            return
        environment = {
            "CONTAINER_ID": str(instance.id), "CONTAINER_API_KEY": instance.key,
            "PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
            # Names without a folder are at home for SFTP, and that is this computer's; bash shall not read its .bashrc.
            "HOME": str(Path.home()), "SHLVL": "2",
        }  # fmt: skip
        if bad == "full":  # as good as: nobody can write there
            for place in self._places(instance):
                place.parent.mkdir(exist_ok=True)
                place.symlink_to("/proc/self/fdinfo")
        server = SSHServer(instance.folder / "sshd", environment=environment)
        with self._guard:
            if instance.ended or self._stopping.is_set():
                return
            server.start()
            instance.server = server
        asyncio.run_coroutine_threadsafe(self._open_line(instance, server.port), self._loop).result(10)
        subprocess.run(
            ["sh", "-c", instance.onstart], env={**os.environ, **server.environment}, check=False, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        if instance.ended:  # meanwhile: whatever that has missed
            kill_marked(server.mark)
            return
        instance.deaf = bad == "no_ssh"
        if not instance.deaf:
            server.let_in((instance.folder / "keys").read_text())
        instance.status = "running"
        instance.running_since = time.time()
        if draw.random() < chaos.vanish:
            time.sleep(draw.uniform(1, 8))
            instance.status = "offline"
            self._stop(instance)

    async def _open_line(self, instance: Instance, port: int) -> None:
        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: str) -> None:
            with contextlib.suppress(OSError):
                while block := await reader.read(1 << 18):
                    setattr(instance, count, getattr(instance, count) + len(block))
                    writer.write(block)
                    await writer.drain()
            writer.close()

        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                there = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                writer.close()
                return
            await asyncio.gather(carry(reader, there[1], "received"), carry(there[0], writer, "sent"))

        instance.line = await asyncio.start_server(connect, "127.0.0.1", 0)
        instance.port = instance.line.sockets[0].getsockname()[1]

    def _look_for_base(self, instance: Instance) -> None:
        """What runs on a machine has fetched what its settings say."""
        for place in self._places(instance):
            with contextlib.suppress(OSError):  # a machine that gives itself back removes it meanwhile
                for log in place.glob("stages/*/log.txt"):
                    with contextlib.suppress(OSError, ValueError):
                        settings = json.loads(log.with_name("job.json").read_bytes())
                        instance.base_gb = max(instance.base_gb, settings.get("fetches_gb", 0.0))

    def end(self, instance: Instance, who: str) -> None:
        self._look_for_base(instance)
        if not instance.ended:
            instance.ended = time.time()
            instance.destroyed_by = who
        self._stop(instance)
        for place in self._places(instance):
            if place.is_symlink():
                place.unlink()
            shutil.rmtree(place, ignore_errors=True)

    @staticmethod
    def _places(instance: Instance) -> set[Path]:
        """Folders of an instance in this computer's home."""
        return {Path.home() / each for each in re.findall(r"~/(\.text2expert/[0-9a-f]+)", instance.onstart)}

    def _stop(self, instance: Instance) -> None:
        with self._guard:
            server, instance.server = instance.server, None
            line, instance.line = instance.line, None
        if line is not None:
            self._loop.call_soon_threadsafe(line.close)
        if server is not None:
            server.end()

    def living(self) -> list[Instance]:
        """Machines that exist, and cost."""
        return [each for each in list(self.instances.values()) if not each.ended]

    def bill(self) -> float:
        """Dollars for all machines so far."""
        for each in self.living():
            self._look_for_base(each)
        return sum(each.cost(time.time()) for each in list(self.instances.values()))


def _matches(offer: dict[str, Any], asked: dict[str, Any]) -> bool:
    tests = {
        "eq": lambda a, b: a == b,
        "gte": lambda a, b: a >= b,
        "lte": lambda a, b: a <= b,
        "gt": lambda a, b: a > b,
    }
    for name, conditions in asked.items():
        if not isinstance(conditions, dict) or name in {"verified", "external"}:
            continue
        for operation, value in conditions.items():
            if name in offer and not tests[operation](offer[name], value):
                return False
    return True


def _row(instance: Instance) -> dict[str, Any]:
    running = instance.line is not None and instance.status == "running"
    return {
        "id": instance.id, "machine_id": instance.offer["machine_id"], "host_id": instance.offer["host_id"],
        "label": instance.label, "actual_status": instance.status, "intended_status": "running", "cur_state": "running",
        "next_state": "running", "status_msg": "", "image_uuid": "image", "image_runtype": "ssh_direc ssh_proxy",
        "ssh_host": "127.0.0.1", "ssh_port": 1, "public_ipaddr": "127.0.0.1 ",
        "ports": {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(instance.port)}]} if running else None,
        "gpu_name": instance.offer["gpu_name"], "dph_total": instance.offer["dph_total"],
        "storage_total_cost": instance.offer["storage_total_cost"], "start_date": instance.began, "extra_env": [],
        "uptime_mins": 0, "geolocation": instance.offer["geolocation"],
    }  # fmt: skip
