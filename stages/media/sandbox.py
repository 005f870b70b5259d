"""A killable child process for everything that decodes.

C decoders crash, hang and eat memory on hostile input, and Python can neither catch nor interrupt
that; Ray would retry such a row for ever. So decoding runs in one persistent child per process:
started once (about 0.3 s), reused (about 0.2 ms a call), killed with its whole process group when
it passes its wall clock, and started again for the next call. Results travel as pickles through a
pipe, so functions should return small things; `stream` hands over a generator's items one by one,
out of a second child that is kept in the same way.

The child dies with its parent (PR_SET_PDEATHSIG). That signal fires when the *thread* that made
the child ends, hence a keeper thread that does nothing but start children.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from clipmill.schemas.errors import DecoderLost

P = ParamSpec("P")
R = TypeVar("R")

ENVIRONMENT = {"OPENCV_FOR_THREADS_NUM": "1"}
"""What the child adds to its own: waking OpenCV's threads costs more than pictures as small as
those that are measured, and other videos have use for the cores."""

_HEADER = struct.Struct("<cQ")
_lock = threading.Lock()  # held for as long as a call lasts
_starting = threading.RLock()  # of a child; the spare one is handed over under it
_child: _Child | None = None
_spare: _Child | None = None  # its stream has ended, and it waits for the next one


def call(
    function: Callable[..., R],
    *args: Any,
    timeout_s: float,
    memory_gb: float = 6.0,
    **kwargs: Any,
) -> R:
    """`function(*args, **kwargs)` in the child: a module-level function, picklable arguments.

    `memory_gb` is address space beyond what the idle child holds. What the function raises is
    raised here; a crash, a timeout or exhausted memory raises `DecoderLost`. Calls of one process
    run one after another.
    """
    with _lock:
        child = _running()
        try:
            child.send(function, args, kwargs, memory_gb)
            return _value(child.receive(time.monotonic() + timeout_s, timeout_s))  # type: ignore[no-any-return]
        except BaseException:
            child.kill_unless_idle()
            raise


def stream(
    function: Callable[..., Iterator[R]],
    *args: Any,
    timeout_s: float,
    memory_gb: float = 6.0,
    **kwargs: Any,
) -> Generator[R]:
    """Items of a generator function that runs in the child; `timeout_s` bounds each item.

    A stream has a child to itself, so calls can be made while it is read. A child whose stream has
    come to its end serves the next stream; that of a stream left early is killed.
    """
    child = _taken()
    try:
        child.send(function, args, kwargs, memory_gb)
        while True:
            kind, payload = child.receive(time.monotonic() + timeout_s, timeout_s)
            if kind != b"i":
                _value((kind, payload))
                return
            yield pickle.loads(payload)
    finally:
        _kept(child)


def close() -> None:
    """End this process's children, if there are any."""
    with _lock, _starting:
        for child in (_child, _spare):
            if child is not None:
                child.kill()


atexit.register(close)


def _new_keeper() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="clipmill-sandbox")


_keeper, _keeper_of = _new_keeper(), os.getpid()


class _Child:
    def __init__(self) -> None:
        to_child, self._requests = os.pipe()
        self._replies, from_child = os.pipe()
        environment = (
            os.environ | ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        )
        command = [sys.executable, "-P", "-m", "clipmill.stages.media.child"]
        try:
            self._process = subprocess.Popen(
                [*command, str(to_child), str(from_child), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=sys.__stderr__.fileno() if sys.__stderr__ else subprocess.DEVNULL,
                pass_fds=(to_child, from_child),
                start_new_session=True,  # a group of its own, so that what it starts dies too
                env=environment,
            )
        finally:
            os.close(to_child)
            os.close(from_child)
        self.owner = os.getpid()
        self._idle = True
        self._name = ""

    @property
    def usable(self) -> bool:
        return self.owner == os.getpid() and self._idle and self._process.poll() is None

    def send(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        memory_gb: float,
    ) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"
        request = pickle.dumps((function, args, kwargs, int(memory_gb * 1e9)), protocol=5)
        self._idle = False
        try:
            _write(self._requests, struct.pack("<Q", len(request)) + request)
        except BrokenPipeError:
            raise self._lost() from None

    def receive(self, deadline: float, timeout_s: float) -> tuple[bytes, bytes]:
        kind, size = _HEADER.unpack(self._read(_HEADER.size, deadline, timeout_s))
        payload = self._read(size, deadline, timeout_s)
        self._idle = kind != b"i"
        return kind, payload

    def _read(self, size: int, deadline: float, timeout_s: float) -> bytes:
        chunks: list[bytes] = []
        poll = select.poll()
        poll.register(self._replies, select.POLLIN)
        while size:
            wait = max(0.0, deadline - time.monotonic())
            if not poll.poll(wait * 1000):
                self.kill()
                raise DecoderLost(
                    f"timeout: {self._name} was killed after {timeout_s:g} s",
                    cure="raise the stage's time limit if the file is sound and long",
                )
            chunk = os.read(self._replies, min(size, 1 << 20))
            if not chunk:
                raise self._lost()
            chunks.append(chunk)
            size -= len(chunk)
        return b"".join(chunks)

    def _lost(self) -> DecoderLost:
        self.kill()
        code = self._process.returncode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        hint = " (the system may be short of memory)" if code == -signal.SIGKILL else ""
        return DecoderLost(
            f"{how}: the decoder died in {self._name}{hint}",
            cure="the file crashes its decoder; it is tried again and then quarantined",
        )

    def kill_unless_idle(self) -> None:
        if not self._idle:
            self.kill()

    def kill(self) -> None:
        """End the child and everything it started; safe to repeat."""
        if self.owner != os.getpid() or self._requests < 0:
            return
        if self._process.poll() is None or not self._idle:  # what it started may outlive it
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._requests)
        os.close(self._replies)
        self._requests = -1
        self._idle = False


def _running() -> _Child:
    global _child
    if _child is None or not _child.usable:
        stale, _child = _child, None
        _child = _started(stale)
    return _child


def _taken() -> _Child:
    """The child that the last stream left, or a new one."""
    global _spare
    with _starting:
        child, _spare = _spare, None
        return child if child is not None and child.usable else _started(child)


def _kept(child: _Child) -> None:
    """Keep a child whose stream has ended; one is enough, for streams mostly follow one another."""
    global _spare
    with _starting:
        if _spare is None and child.usable:
            _spare = child
        else:
            child.kill()


def _started(stale: _Child | None) -> _Child:
    """A new child in place of one that can no longer be used."""
    global _keeper, _keeper_of
    if stale is not None:
        stale.kill()  # nothing, where it is another process's
    with _starting:
        if _keeper_of != os.getpid():  # we are a fork, without the thread that starts children
            _keeper, _keeper_of = _new_keeper(), os.getpid()
        return _keeper.submit(_Child).result()


def _value(reply: tuple[bytes, bytes]) -> Any:
    kind, payload = reply
    value: Any = pickle.loads(payload)
    if kind == b"e":
        raise value  # an exception by the protocol
    return value


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
