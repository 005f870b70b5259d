"""A teacher behind a server that speaks the OpenAI protocol: vLLM, SGLang, a hosted model.

Every request is sent for itself, as many at a time as the settings allow. What a busy or ailing
server answers (429, 5xx, silence, a cut or garbled body) is tried again after a random pause that
doubles, or the one it asks for. A reply to another attempt (see `chat_protocol`) is thrown away
with its connection, and its request tried again.

When a request is given up, a server that answered others meanwhile has a quarrel with this request,
and the reply is an error to be counted. One that answered nobody is down or set up wrongly: that is
a ModelError, which fails the part, since a thousand clips must not be marked as rejected because a
server was restarted.

The client is aiohttp: httpx took 2 to 3 ms of CPU for a request on 48 connections (its pool looks
at every connection for every request), aiohttp 0.1 ms, and that CPU is wanted for decoding.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import aiohttp

from clipmill.schemas.errors import ModelError
from clipmill.stages.models.chat_protocol import (
    Stray,
    answer,
    attempt_name,
    question,
    seconds,
)
from clipmill.stages.models.identity import ModelIdentity
from clipmill.stages.models.own_loop import OwnLoop
from clipmill.stages.models.tab import Turns
from clipmill.stages.models.teacher import Reply, Request, TeacherSettings

T = TypeVar("T")

_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}
_SETUP = {401, 402, 403, 404, 405}  # key, credit, address or model name: the same for every clip
_LARGEST = 8 << 20  # bytes of a reply worth reading
_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds


class _Trouble(Exception):
    """An attempt failed, and another may not."""

    def __init__(self, message: str, pause: float | None = None) -> None:
        super().__init__(message)
        self.pause = pause  # seconds the server asks to be left alone


class _Refused(Exception):
    """The server will not have this very request."""


class OpenAITeacher:
    """See the module's docstring; `ask` may be called from any thread's loop."""

    one_by_one = True

    def __init__(self, settings: TeacherSettings) -> None:
        self.settings = settings
        self.identity: ModelIdentity = settings.model_identity()
        self._server = settings.server
        self._key = ""
        self._answered = 0.0  # when the server last answered anything, by the monotonic clock
        self._silence = 0.0  # until when the server asked to be left alone
        self._jitter = random.Random()

    def setup(self) -> None:
        """Connect and try the key. Raises ModelError where the server cannot be used as set up."""
        self._key = os.environ.get(self._server.key_variable, "").strip()
        if self._key and self._server.url.startswith("http://") and not self._server.private:
            raise ModelError(
                f"the key in {self._server.key_variable} would travel unencrypted to "
                f"{self._server.url}",
                cure="use https://, or unset the variable for a server without a key",
            )
        self._loop = OwnLoop("teacher")
        self._loop.wait(self._connect())

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """One reply per request. Raises ModelError where the server answers nothing at all."""
        return await self._loop.run(self._answer(requests))

    def close(self) -> None:
        self._loop.wait(self._client.close())
        self._loop.close()

    async def _connect(self) -> None:
        most = self._server.concurrency
        self._turns = Turns(most, self.settings)
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=most),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=15.0, sock_read=self._server.timeout_s
            ),
            headers={
                "Content-Type": "application/json",
                **({"Authorization": f"Bearer {self._key}"} if self._key else {}),
            },
            trust_env=True,  # proxies
        )
        for attempt in range(1, self._server.attempts + 1):
            try:
                await self._send("GET", "/models", b"", "", self._accepted)
                return
            except _Trouble as trouble:
                if attempt == self._server.attempts:
                    raise self._down(trouble) from trouble
                await asyncio.sleep(self._pause(attempt, trouble.pause))

    def _accepted(self, response: aiohttp.ClientResponse, data: bytes) -> None:
        # Not every server has a list of its models, so other refusals mean nothing.
        if response.status in (401, 402, 403) or response.status >= 500:
            raise self._failure(response, data)

    async def _answer(self, requests: Sequence[Request]) -> list[Reply]:
        turns = [self._turns.take(self._one, request) for request in requests]
        found = await asyncio.gather(*turns, return_exceptions=True)
        replies: list[Reply] = []
        for reply in found:
            if isinstance(reply, BaseException):
                raise reply
            replies.append(reply)
        return replies

    async def _one(self, request: Request) -> Reply:
        begun = time.monotonic()
        # Encoded once it is its turn: what waits holds frames, not a second copy of them.
        body = question(self.settings, request)
        attempt = 0
        last: _Trouble | _Refused = _Trouble("nothing was sent")
        try:
            async with asyncio.timeout(self._server.deadline_s):
                for attempt in range(1, self._server.attempts + 1):
                    await asyncio.sleep(max(self._silence - time.monotonic(), 0.0))
                    try:
                        return await self._attempt(request, body, attempt)
                    except _Trouble as trouble:
                        last = trouble
                    if attempt < self._server.attempts:
                        await asyncio.sleep(self._pause(attempt, last.pause))
        except TimeoutError:
            last = _Trouble(f"no answer within {self._server.deadline_s:g} s; {last}")
        except _Refused as refused:
            last, begun = refused, 0.0
        if self._answered <= begun:
            raise self._down(last)
        error = str(last)[:300]
        return Reply(request.id, finish_reason="error", error=error, tries=attempt)

    async def _attempt(self, request: Request, body: bytes, attempt: int) -> Reply:
        """One sending. Raises _Trouble, _Refused or ModelError."""
        name = attempt_name()

        def read(response: aiohttp.ClientResponse, data: bytes) -> Reply:
            if response.status != 200:
                raise self._failure(response, data)
            return answer(request.id, name, response.headers.get("x-request-id", ""), data)

        reply = await self._send("POST", "/chat/completions", body, name, read)
        self._answered = time.monotonic()
        return replace(reply, tries=attempt)

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes,
        name: str,
        read: Callable[[aiohttp.ClientResponse, bytes], T],
    ) -> T:
        data = bytearray()
        try:
            async with self._client.request(
                method,
                self._server.url + path,
                data=body or None,
                headers={"X-Request-Id": name} if name else {},
                allow_redirects=False,  # the key is for this address alone
            ) as response:
                async for chunk in response.content.iter_any():
                    data += chunk
                    if len(data) > _LARGEST:
                        raise _Trouble(f"a reply of more than {_LARGEST >> 20} MiB")
                try:
                    return read(response, bytes(data))
                except Stray as stray:
                    # What this connection brings next could be the reply that was due now.
                    response.close()
                    raise _Trouble(str(stray)) from stray
        except TimeoutError as error:
            raise _Trouble(f"no answer within {self._server.timeout_s:g} s") from error
        except aiohttp.ClientError as error:
            raise _Trouble(f"{type(error).__name__}: {error}"[:200]) from error

    def _failure(self, response: aiohttp.ClientResponse, data: bytes) -> Exception:
        status, message = response.status, self._message(data)
        if status in _SETUP or 300 <= status < 400 or b"insufficient_quota" in data:
            return ModelError(
                f"{self._server.url} answers {status} to every request: {message}",
                cure=f"check server.url, the model's name and the key in "
                f"{self._server.key_variable}; then `clipmill retry OUT`",
            )
        if status in _AGAIN or status >= 500:
            pause = seconds(response.headers.get("retry-after"))
            if pause is not None and status in (429, 503):
                self._silence = max(self._silence, time.monotonic() + pause)
            return _Trouble(f"status {status}: {message}", pause)
        return _Refused(f"status {status}: {message}")

    def _message(self, data: bytes) -> str:
        """What the server says about a failure; a server may quote the key, messages must not."""
        text = data[:2000].decode("utf-8", "replace")
        try:
            told = json.loads(data)
            text = str(told["error"]["message"])
        except (ValueError, LookupError, TypeError, RecursionError):
            pass
        if self._key:
            text = text.replace(self._key, "***")
        return " ".join(text.split())[:200]

    def _down(self, last: Exception) -> ModelError:
        return ModelError(
            f"no usable answer from {self._server.url}: {last}",
            cure="see whether the server runs and serves this model; then `clipmill retry OUT`",
        )

    def _pause(self, attempt: int, asked: float | None) -> float:
        """Seconds to wait: random up to a doubling bound, so that clients do not come in step."""
        bound = min(_PAUSE * 2.0 ** (attempt - 1), _LONGEST_PAUSE)
        return (asked or 0.0) + self._jitter.uniform(0.0, bound)
