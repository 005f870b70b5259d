"""The loop inside the sandbox's child process; see `sandbox`.

It reads a request, sets the memory limit, runs the function and writes the reply. Limits are of
address space, because that is the one memory limit the kernel enforces on a single process; it is
counted from the child's size when idle, so a limit means the same whatever has been imported.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from clipmill.schemas.errors import ClipmillError, DecoderLost

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent ends; leave if it already has."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def main() -> None:
    requests, replies, parent = (int(argument) for argument in sys.argv[1:4])
    die_with(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(requests, "rb") as source, os.fdopen(replies, "wb") as sink:
        while len(header := source.read(8)) == 8:
            request = source.read(struct.unpack("<Q", header)[0])
            _serve(request, lambda kind, value: _reply(sink, kind, value))


def _serve(request: bytes, reply: Callable[[bytes, Any], None]) -> None:
    try:
        function, args, kwargs, memory = pickle.loads(request)
        _limit_memory(memory)
        result = function(*args, **kwargs)
        if isinstance(result, Iterator):
            for item in result:
                reply(b"i", item)
            result = None
        reply(b"r", result)
    except MemoryError as error:
        reply(b"e", DecoderLost(f"memory: the decoder reached its limit ({error})"))
    except BaseException as error:  # not swallowed: it is raised again in the parent
        reply(b"e", _portable(error))


def _limit_memory(memory: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = size + memory
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _reply(sink: Any, kind: bytes, value: Any) -> None:
    payload = pickle.dumps(value, protocol=5)
    sink.write(struct.pack("<cQ", kind, len(payload)))
    sink.write(payload)
    sink.flush()


def _portable(error: BaseException) -> BaseException:
    """The error itself, or its text where it cannot travel."""
    try:
        pickle.loads(pickle.dumps(error))
    except (pickle.PickleError, TypeError, AttributeError):
        return ClipmillError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    main()
