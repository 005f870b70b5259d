"""The OpenAI chat protocol on the wire: a request's body, and the reply in what comes back.

Pure functions, so that what a server is told and what is believed of its answer can be read in one
place. The protocol pairs a reply with its request by the connection alone. So every attempt has a
name of its own, sent as `X-Request-Id`, which vLLM and others put into the reply: one that bears
the name of another attempt of ours is not the reply that was asked for.
"""

from __future__ import annotations

import base64
import email.utils
import json
import re
import secrets
import time
from typing import Any

from clipmill.stages.models.teacher import Finish, Reply, Request, TeacherSettings, Usage

_FINISH: dict[str, Finish] = {"stop": "stop", "eos_token": "stop", "length": "length"}
_OURS = re.compile(r"cm-[0-9a-f]{20}")
# Control tokens as the common chat models spell them; which one serves is not known here.
_CONTROL = re.compile(
    r"<(?=[|\uff5c][^<>\s]{1,60}[|\uff5c]>|/?s>|(start|end)_of_turn>|/?(image|video|audio|img)\w*>)"
    r"|\[(?=/?INST\])"
)


class Stray(Exception):
    """Something came back that is not the reply to what was sent."""


def attempt_name() -> str:
    """A name that no other attempt has."""
    return f"cm-{secrets.token_hex(10)}"


def question(settings: TeacherSettings, request: Request) -> bytes:
    """The body of a request, with its pictures in it."""
    text = _CONTROL.sub(lambda found: f"{found[0]} ", request.prompt)
    content: Any = text
    if request.images:
        content = [
            *({"type": "image_url", "image_url": {"url": _url(i)}} for i in request.images),
            {"type": "text", "text": text},
        ]
    body: dict[str, Any] = {
        "model": settings.model,
        "messages": [{"role": "user", "content": content}],
        settings.server.length_key: request.max_tokens,
        "temperature": request.temperature,
    }
    if request.temperature > 0:
        body["seed"] = request.seed
    if request.schema is not None and settings.server.constrain == "json_schema":
        form = {"name": "reply", "strict": True, "schema": request.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    elif request.schema is not None and settings.server.constrain == "json_object":
        body["response_format"] = {"type": "json_object"}
    return json.dumps(body).encode()


def answer(id: str, name: str, echoed: str, data: bytes) -> Reply:
    """The reply to request `id` in a body, asked for under the attempt's `name`; `echoed` is the
    name that the headers give back. Raises Stray for another attempt's reply or none at all.
    """
    try:
        body = json.loads(data)
        (choice,) = body["choices"]
        text, finish = choice["message"]["content"], choice["finish_reason"]
        others = set(_OURS.findall(f"{body.get('id')} {echoed}")) - {name}
        used = body.get("usage") or {}
        usage = Usage(_count(used.get("prompt_tokens")), _count(used.get("completion_tokens")))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Stray("the body is no chat completion") from error
    if others:
        raise Stray("the reply belongs to another request")
    if isinstance(text, str) and str(finish) in _FINISH:
        return Reply(id, text, _FINISH[finish], usage)
    return Reply(id, finish_reason="error", usage=usage, error=f"finish reason {finish!r}"[:100])


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 1 << 32 else 0


def seconds(header: str | None) -> float | None:
    """A Retry-After header: seconds, or a date (RFC 9110, 10.2.3)."""
    if not header:
        return None
    try:
        return max(float(header), 0.0) if header.strip()[:1].isdigit() else _until(header)
    except (ValueError, TypeError, OverflowError):
        return None


def _until(date: str) -> float:
    return max(email.utils.parsedate_to_datetime(date).timestamp() - time.time(), 0.0)


def _url(picture: bytes) -> str:
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
