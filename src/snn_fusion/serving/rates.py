"""How often one identity may ask: a token bucket each, here or in a Redis that several services share.

A bucket holds up to `burst` requests and gains `rate` a second. A batch is let through like one request and then owes
the others, for which the next has to wait. Redis also says which tokens are revoked. While it does not answer, what
writes is refused, and what only reads goes by the buckets here.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from snn_fusion.errors import BadInput
from snn_fusion.serving.logs import log
from snn_fusion.serving.problems import Problem
from snn_fusion.serving.settings import PREFIX as SETTING
from snn_fusion.serving.tokens import Identity, revoked_token

MOST = 10_000  # buckets that are kept
WITHIN_S = 0.25  # Redis has to answer in
PAUSE_S = 1.0  # after it did not, it is left alone for
PREFIX = "snn-fusion:"
# The same sum as Bucket.take, by Redis's clock: -1 for a revoked token, else the seconds to wait (0: go on).
ASK = """
if redis.call('EXISTS', KEYS[2]) == 1 then return '-1' end
local rate, burst, owed = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if rate == 0 then return '0' end
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
local kept = redis.call('HMGET', KEYS[1], 'left', 'at')
local left = tonumber(kept[1]) or burst
left = math.min(burst, left + math.max(0, now - (tonumber(kept[2]) or now)) * rate)
local wait = 0
if owed > 0 then left = left - owed elseif left >= 1 then left = left - 1 else wait = (1 - left) / rate end
redis.call('HSET', KEYS[1], 'left', tostring(left), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(1000 * (burst - left) / rate) + 1000)
return tostring(wait)
"""

if TYPE_CHECKING:
    from redis.asyncio import Redis


@dataclass
class Bucket:
    left: float
    at: float

    def take(self, rate: float, burst: float, now: float, owed: int) -> float:
        """Seconds to wait; 0 if one was taken, or what is owed."""
        self.left, self.at = min(burst, self.left + (now - self.at) * rate), now
        if owed or self.left >= 1:
            self.left -= owed or 1
            return 0.0
        return (1 - self.left) / rate


class Rates:
    """`rate` requests a second (0: no limit) and `burst` at once, for each subject; `redis`: its URL, or nothing."""

    def __init__(self, rate: float, burst: float, redis: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        """Raises BadInput."""
        if rate and burst < 1:
            raise BadInput(f"{SETTING}BURST", f"is {burst:g}", "at least 1, or nobody could ever ask")
        self.rate, self.burst, self.clock = rate, burst, clock
        self._buckets: dict[str, Bucket] = {}
        self._redis = _connect(redis) if redis else None
        self._down_until = -math.inf

    async def take(self, identity: Identity, writes: bool) -> None:
        """Count one request. Raises Problem: 429 too many, 401 revoked, 503 if it writes and Redis does not answer."""
        wait = await self._take(identity, writes)
        if wait > 0:
            limit = f"{self.rate:g} a second, {self.burst:g} at once"
            raise Problem(429, "requests", "too many of this identity", limit, math.ceil(wait))

    async def owe(self, identity: Identity, count: int) -> None:
        """Count what a request that was let through turned out to hold. Raises Problem 401."""
        await self._take(identity, False, count)

    async def _take(self, identity: Identity, writes: bool, owed: int = 0) -> float:
        if self._redis is None:
            return self._here(identity, owed)
        return await self._shared(self._redis, identity, writes, owed)

    def _here(self, identity: Identity, owed: int) -> float:
        if not self.rate:
            return 0.0
        now, name = self.clock(), identity.subject
        if name not in self._buckets and len(self._buckets) >= MOST:
            self._forget(now)
        return self._buckets.setdefault(name, Bucket(self.burst, now)).take(self.rate, self.burst, now, owed)

    def _forget(self, now: float) -> None:
        """Drop the buckets that are full again, which is as if they had never been; else the one unused for longest."""
        kept = {name: one for name, one in self._buckets.items() if one.left + (now - one.at) * self.rate < self.burst}
        if len(kept) >= MOST:
            del kept[min(kept, key=lambda name: kept[name].at)]
        self._buckets = kept

    async def _shared(self, redis: Redis, identity: Identity, writes: bool, owed: int) -> float:
        from redis import RedisError

        keys = (f"{PREFIX}rate:{_short(identity.subject)}", f"{PREFIX}revoked:{identity.token}")
        try:
            if self.clock() < self._down_until:
                raise TimeoutError
            asked = redis.eval(ASK, 2, *keys, str(self.rate), str(self.burst), str(owed))
            wait = float(await cast(Awaitable[bytes], asked))
        except (RedisError, OSError, TimeoutError) as error:
            return self._without(identity, writes, owed, error)
        if wait < 0:
            raise revoked_token()
        return wait

    def _without(self, identity: Identity, writes: bool, owed: int, error: Exception) -> float:
        now = self.clock()
        if now >= self._down_until:
            self._down_until = now + PAUSE_S
            log.warning("redis does not answer", extra={"fields": {"error": type(error).__name__}})
        if writes:
            raise Problem(503, "service", "cannot check the limits now", "try again", math.ceil(PAUSE_S))
        return self._here(identity, owed)


def _connect(url: str) -> Redis:
    from redis.asyncio import Redis  # only here: it takes a second to import
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    once = Retry(NoBackoff(), 0)
    try:
        return Redis.from_url(url, socket_timeout=WITHIN_S, socket_connect_timeout=WITHIN_S, retry=once)
    except ValueError:  # whose text may quote a password
        raise BadInput(
            f"{SETTING}REDIS", "is not a URL of a Redis", "redis://[:PASSWORD@]HOST:PORT, or rediss://"
        ) from None


def _short(subject: str) -> str:
    """Names of any characters as a key of one length."""
    return hashlib.sha256(subject.encode()).hexdigest()[:32]
