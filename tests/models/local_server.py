"""A real HTTP server that speaks the OpenAI protocol and misbehaves as it is told.

It answers what it saw: the caption of a request is made of the digest of its pictures and prompt,
so a caption on another clip shows. `slots` requests are worked on at a time, the rest wait in line;
the time one takes is log-normal, as the length of replies is. How many slots were busy when is
written down, since that is what a teacher costs. Runs in a thread, or for itself as a program:

    python tests/models/local_server.py --slots 32 --median 2 --p99 15
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import math
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

ATTEMPT = re.compile(r"cm-[0-9a-f]{20}")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server makes of a request; `number` counts the sendings of the same content."""

    digest: str
    number: int
    prompt: str
    body: dict[str, Any]
    headers: dict[str, str]


Fate = Callable[[Seen], str]
"""Seen -> right, or how to fail: see `Server._reply`."""


def digest(images: list[bytes], prompt: str) -> str:
    """What the server says it saw."""
    return hashlib.sha256(b"".join(images) + prompt.encode()).hexdigest()[:16]


@dataclass
class Server:
    """`with server.running(): ...`; then `server.url` is what clients are given."""

    slots: int = 32
    median_s: float = 0.0
    p99_s: float = 0.0
    fate: Fate = lambda seen: "right"
    key: str = ""
    retry_after: str = "0.02"
    seed: int = 0
    prompt_tokens: int = 100
    completion_tokens: int = 20
    together: int = 0  # nothing is answered before so many requests are worked on at a time
    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    fates: Counter[str] = field(default_factory=Counter)
    changes: list[tuple[float, int]] = field(default_factory=list)  # (when, slots busy from then)
    keep: bool = True  # remember what was seen
    waiting: int = 0

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._sent: Counter[str] = Counter()
        self._names: list[str] = []
        self._sigma = math.log(self.p99_s / self.median_s) / 2.326 if self.median_s else 0.0

    @contextmanager
    def running(self) -> Iterator[Server]:
        ready, loop = Event(), asyncio.new_event_loop()

        def serve() -> None:
            asyncio.set_event_loop(loop)
            loop.run_until_complete(self.start())
            ready.set()
            loop.run_forever()

        thread = Thread(target=serve, daemon=True)
        thread.start()
        ready.wait()
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._end(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def start(self, port: int = 0) -> None:
        self._free = asyncio.Semaphore(self.slots)
        self._busy = 0
        self._full = asyncio.Event()
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *rest = head.rstrip().split("\r\n")
                headers = {k.lower(): v for k, v in (item.split(": ", 1) for item in rest)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if not await self._serve(line.split()[1], headers, body, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _serve(
        self, path: str, headers: dict[str, str], data: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; False ends the connection."""
        if self.key and headers.get("authorization") != f"Bearer {self.key}":
            told = f"Incorrect API key provided: {headers.get('authorization')}"
            writer.write(_response(401, _error(told)))
            return True
        if path.endswith("/occupancy"):
            writer.write(_response(200, json.dumps(self.changes).encode()))
            return True
        if path.endswith("/models"):
            writer.write(_response(200, b'{"data": []}'))
            return True
        self.waiting += 1
        async with self._free:
            self.waiting -= 1
            self._note(+1)
            try:
                if self._busy >= self.together:
                    self._full.set()
                await asyncio.wait_for(self._full.wait(), 60)
                if self.median_s:
                    await asyncio.sleep(self.median_s * math.exp(self._rng.gauss(0, self._sigma)))
            finally:
                self._note(-1)
        return await self._reply(headers, data, writer)

    async def _reply(
        self, headers: dict[str, str], data: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        body = json.loads(data)
        images, prompt = _content(body)
        what = digest(images, prompt)
        self._sent[what] += 1
        seen = Seen(what, self._sent[what], prompt, body if self.keep else {}, headers)
        if self.keep:
            self.seen.append(seen)
        name = headers.get("x-request-id", "")
        other = self._names[-1] if self._names else "cm-" + "0" * 20
        self._names = [*self._names[-50:], name]
        fate = self.fate(seen)
        self.fates[fate] += 1
        text = json.dumps({"caption": f"seen {what}"})
        right = self._completion(name, text)
        match fate:
            case "right":
                writer.write(_response(200, right))
            case "429" | "503":
                writer.write(
                    _response(int(fate), _error("busy"), f"Retry-After: {self.retry_after}")
                )
            case "500" | "400" | "404":
                writer.write(_response(int(fate), _error(f"failed with {fate}")))
            case "hang":
                await asyncio.sleep(3600)
            case "closed":
                return False
            case "cut":
                writer.write(_response(200, right)[:-20])
                return False
            case "garbage":
                writer.write(_response(200, b"<html>upstream connect error</html>"))
            case "empty":
                writer.write(_response(200, b'{"choices": []}'))
            case "swapped":  # another request's reply, as a confused proxy hands it out
                writer.write(_response(200, self._completion(other, _elsewhere())))
            case "stray":  # the reply of an earlier request, and then the right one behind it
                writer.write(_response(200, self._completion(other, _elsewhere())))
                writer.write(_response(200, right))
            case "off_schema":
                writer.write(_response(200, self._completion(name, '{"caption": 7}')))
            case "truncated":
                writer.write(_response(200, self._completion(name, text[:-3], "length")))
            case "filtered":
                writer.write(_response(200, self._completion(name, text, "content_filter")))
            case _:
                raise AssertionError(f"no such fate: {fate}")
        return True

    def _completion(self, name: str, text: str, finish: str = "stop") -> bytes:
        return json.dumps(
            {
                "id": f"chatcmpl-{name}",
                "choices": [{"message": {"content": text}, "finish_reason": finish}],
                "usage": {
                    "prompt_tokens": self.prompt_tokens,
                    "completion_tokens": self.completion_tokens,
                },
            }
        ).encode()

    def _note(self, change: int) -> None:
        self._busy += change
        self.changes.append((time.time(), self._busy))


def _elsewhere() -> str:
    return json.dumps({"caption": "seen another clip"})


def _error(message: str) -> bytes:
    return json.dumps({"error": {"message": message}}).encode()


def _response(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} .", "Content-Type: application/json", *headers]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _content(body: dict[str, Any]) -> tuple[list[bytes], str]:
    content = body["messages"][0]["content"]
    if isinstance(content, str):
        return [], content
    images = [
        base64.b64decode(item["image_url"]["url"].partition("base64,")[2])
        for item in content
        if item["type"] == "image_url"
    ]
    return images, content[-1]["text"]


async def _alone(arguments: argparse.Namespace) -> None:
    server = Server(arguments.slots, arguments.median, arguments.p99, keep=False)
    await server.start()
    print(server.url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--median", type=float, default=2.0)
    parser.add_argument("--p99", type=float, default=15.0)
    asyncio.run(_alone(parser.parse_args()))
