"""Answers that were given before: in this process, or in Redis where several services share them.

An answer's key is what it depends on: the request's content, the model, its arithmetic and the number of steps.
Redis is asked with a short time limit. When it fails, nothing is kept for a while and every request is computed.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from snn_fusion.errors import BadInput
from snn_fusion.serving.model import Model
from snn_fusion.workspace import code_digest, digest

REDIS_S = 0.1  # longer than this Redis may not take, with connecting
AGAIN_S = 5.0  # after a failure it is left alone for
LOG_S = 60.0  # failures are logged at most once in
KEPT_S = 3600  # Redis forgets an answer after
CODE = ("serving", "network", "encoding", "targets")
log = logging.getLogger(__name__)


def identity(model: Model) -> str:
    """Digest of all that an answer says but the request: the network, what it runs as, and the code that runs it."""
    accuracy = {view: list(steps) for view, steps in model.accuracy.items()}
    return digest(model.version, model.graph.digest, model.arithmetic, model.artefact, accuracy, _code())


@functools.cache
def _code() -> str:
    return code_digest(*CODE)


def key(content: bytes, model_identity: str, steps: int) -> str:
    return f"snn-fusion:{hashlib.sha256(content + model_identity.encode()).hexdigest()}:{steps}"


class Cache(Protocol):
    """What keeps answers. None is a miss; a cache that is down keeps nothing and finds nothing."""

    async def get(self, key: str) -> dict[str, Any] | None: ...

    async def put(self, key: str, answer: dict[str, Any]) -> None: ...

    async def close(self) -> None: ...


class InMemory:
    """The `most` answers that were asked for last; 0 keeps none."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    async def get(self, key: str) -> dict[str, Any] | None:
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return _answer(self._kept[key])

    async def put(self, key: str, answer: dict[str, Any]) -> None:
        self._kept[key] = msgspec.msgpack.encode(answer)
        self._kept.move_to_end(key)
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)

    async def close(self) -> None:
        self._kept.clear()


class InRedis:
    """In the Redis of this URL; `failed` is called each time that it could not be used. Raises BadInput."""

    def __init__(self, url: str, failed: Callable[[], None]) -> None:
        try:
            once_more = Retry(NoBackoff(), 1)  # a kept connection may be to a Redis that was started again since
            self._client = redis.Redis.from_url(url, retry=once_more)
        except ValueError:
            # Not the URL, nor what the library says of it: a password may be in it.
            raise BadInput("SNN_FUSION_SERVE_REDIS", "is not a URL of Redis", "redis://HOST:PORT/0") from None
        self._failed = failed
        self._down_until = self._quiet_until = 0.0

    async def get(self, key: str) -> dict[str, Any] | None:
        if time.monotonic() < self._down_until:
            return None
        try:
            async with asyncio.timeout(REDIS_S):
                kept: bytes | None = await self._client.get(key)  # type: ignore[assignment]
            return None if kept is None else _answer(kept)
        except (RedisError, OSError, TimeoutError, msgspec.DecodeError) as error:
            self._fails(error)
            return None

    async def put(self, key: str, answer: dict[str, Any]) -> None:
        if time.monotonic() < self._down_until:
            return
        try:
            async with asyncio.timeout(REDIS_S):
                await self._client.set(key, msgspec.msgpack.encode(answer), ex=KEPT_S)
        except (RedisError, OSError, TimeoutError) as error:
            self._fails(error)

    async def close(self) -> None:
        await self._client.aclose()

    def _fails(self, error: Exception) -> None:
        now = time.monotonic()
        self._down_until = now + AGAIN_S
        self._failed()
        if now >= self._quiet_until:
            self._quiet_until = now + LOG_S
            # Not the error's text: it may quote the URL, which may hold a password.
            log.warning("the cache is down (%s): answers are computed; trying again", type(error).__name__)


def _answer(kept: bytes) -> dict[str, Any]:
    return msgspec.msgpack.decode(kept, type=dict[str, Any])
