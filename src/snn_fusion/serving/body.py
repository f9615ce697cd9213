"""A request's body: read with limits on size and time; what it unpacks to and holds is looked at in a worker."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request

from snn_fusion.serving import limits
from snn_fusion.serving.kinds import kind_of
from snn_fusion.serving.payload import decode
from snn_fusion.serving.problems import Problem

TOO_LARGE = f"at most {limits.BODY:,} bytes"
FREE = 2**18  # bytes of a body that count as nothing: what a recording usually takes
PIECE = 2**20  # bytes that are unpacked at once
RATIO = 1032  # to which deflate can compress at most
HASHED = 2047  # at once: for more, hashlib lets go of the interpreter's lock, and the event loop waits to have it back


@dataclass
class Body:
    """As it came. `digest`: SHA-256 of all that says what it means; `turn`: what it has to give back once decoded."""

    content: bytes | bytearray
    kind: str
    gzipped: bool
    digest: bytes
    turn: _Turn | None = None

    def decoded(self, of: type) -> Any:
        """As the struct `of`; for a worker, since it takes time. Raises Problem."""
        if self.turn is None:
            return decode(_unpacked(self.content) if self.gzipped else self.content, self.kind, of)
        try:
            return decode(_unpacked(self.content), self.kind, of)
        finally:
            self.turn.over()


class Held:
    """The bytes of large bodies that are in memory, of `most` in all: they wait for a worker with their request."""

    def __init__(self, most: int = limits.BODIES) -> None:
        self.most, self.bytes = most, 0
        self.paused_until = 0.0  # of the event loop's time

    def add(self, count: int) -> None:
        """Raises Problem 429."""
        if self.bytes + count > self.most:
            raise Problem(429, "service", "too many large bodies are being read", f"{self.most:,} bytes", 1)
        self.bytes += count

    async def room(self, count: int) -> None:
        """Wait for it, but not for long."""
        loop = asyncio.get_running_loop()
        until = loop.time() + limits.ROOM_S
        while self.bytes + count > self.most and loop.time() < until:
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def reading(request: Request, held: Held) -> AsyncIterator[Body]:
    """The body, for as long as it is needed.

    Raises Problem: 413 too large, 408 too slow, 415 for another content type or an encoding other than gzip, 429 while
    others' bodies fill the memory that there is for them.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise Problem(415, "Content-Encoding", repr(encoding[:40]), "gzip or none")
    kind = kind_of(request.headers.get("content-type", ""))
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.BODY:
        raise Problem(413, "body", f"{int(length):,} bytes", TOO_LARGE)
    claim, turn = _Claim(held), None
    try:
        body = await _whole(request, kind, encoding == "gzip", claim)
        if body.gzipped and (size := _declared(body.content)) > FREE:
            await held.room(2 * size)
            claim.add(size)
            body.turn = turn = _Turn(held, size)
        yield body
    finally:
        claim.release()
        if turn is not None:
            turn.unless_begun()


class _Claim:
    """What one body takes of the memory for all."""

    def __init__(self, held: Held) -> None:
        self.held, self.size, self.counted = held, 0, 0

    def grow(self, count: int) -> None:
        """Raises Problem: 413 for this body, 429 for all of them."""
        self.size += count
        if self.size > limits.BODY:
            raise Problem(413, "body", f"more than {limits.BODY:,} bytes", TOO_LARGE)
        self.add(max(0, self.size - FREE) - self.counted)

    def add(self, count: int) -> None:
        """Raises Problem 429."""
        self.held.add(count)
        self.counted += count

    def release(self) -> None:
        self.held.bytes -= self.counted
        self.counted = 0


class _Turn:
    """What gzip unpacks to is counted a second time until it is decoded, and a while longer.

    It costs its sender a thousandth, and while it is decoded nobody else gets far: no two of the largest at once, and
    pauses between them, one after another. Raises Problem 429.
    """

    def __init__(self, held: Held, size: int) -> None:
        self.loop, self.size, self.begun = asyncio.get_running_loop(), size, False
        self.claim = _Claim(held)
        self.claim.add(size)

    def over(self) -> None:
        """It was decoded, or could not be; called by a worker."""
        self.begun = True
        self.loop.call_soon_threadsafe(self._pause)

    def _pause(self) -> None:
        held = self.claim.held
        held.paused_until = max(held.paused_until, self.loop.time()) + self.size / limits.UNPACKING
        self.loop.call_at(held.paused_until, self.claim.release)

    def unless_begun(self) -> None:
        """The request is over: an answer that was kept, for instance, needs no decoding."""
        if not self.begun:
            self.claim.release()


async def _whole(request: Request, kind: str, gzipped: bool, claim: _Claim) -> Body:
    digest, content = begun_digest(kind, gzipped), bytearray()  # which grows in place: parts would be there twice
    try:
        async with asyncio.timeout(limits.BODY_S):
            async for part in request.stream():
                claim.grow(len(part))
                for i in range(0, len(part), HASHED):
                    digest.update(part[i : i + HASHED])
                content += part
    except TimeoutError:
        raise Problem(408, "body", f"did not arrive within {limits.BODY_S:g} s", "send it at once") from None
    except ClientDisconnect:
        raise Problem(400, "body", "the connection was closed", "send all of it") from None
    return Body(content, kind, gzipped, digest.digest())


def begun_digest(kind: str, gzipped: bool) -> Any:
    """A SHA-256 that goes on with the body: the same bytes read in another way are another request."""
    return hashlib.sha256(f"{kind} {gzipped}\n".encode())


def _declared(packed: bytes | bytearray) -> int:
    """The size that the trailer of gzip gives (RFC 1952, 2.3.1), as far as it can be true and may be unpacked."""
    return min(int.from_bytes(packed[-4:], "little"), RATIO * len(packed), limits.BODY)


def _unpacked(packed: bytes | bytearray) -> bytearray:
    """Not a piece more is unpacked than was declared, and counted. Raises Problem."""
    stream, rest, out = zlib.decompressobj(wbits=31), packed, bytearray()
    most = _declared(packed)
    try:
        while rest and not stream.eof and len(out) <= most:
            out += stream.decompress(rest, PIECE)
            rest = stream.unconsumed_tail
    except zlib.error as error:
        raise Problem(400, "body", f"is not gzip: {error}", "gzip, or no Content-Encoding") from None
    if len(out) > limits.BODY:
        raise Problem(413, "body", "unpacks to too much", TOO_LARGE)
    if stream.eof and not stream.unused_data:
        return out
    what = "its gzip is cut short"
    if stream.eof:
        what = "something follows its gzip"
    elif len(out) > most:
        what = "its gzip is cut short, or holds more than it says"
    raise Problem(400, "body", what, "all of one gzip stream and nothing else")
