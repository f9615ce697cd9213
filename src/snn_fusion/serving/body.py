"""A request's body: read with limits on size, time and what it unpacks to."""

from __future__ import annotations

import asyncio
import zlib

from starlette.requests import ClientDisconnect, Request

from snn_fusion.serving import limits
from snn_fusion.serving.problems import Problem

TOO_LARGE = f"at most {limits.BODY:,} bytes"


async def read(request: Request) -> bytes:
    """Raises Problem: 413 too large, 408 too slow, 415 for an encoding other than gzip, 400 for broken gzip."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise Problem(415, "Content-Encoding", repr(encoding[:40]), "gzip or none")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.BODY:
        raise Problem(413, "body", f"{int(length):,} bytes", TOO_LARGE)
    try:
        async with asyncio.timeout(limits.BODY_S):
            body = await _gather(request)
    except TimeoutError:
        raise Problem(408, "body", f"did not arrive within {limits.BODY_S:g} s", "send it at once") from None
    except ClientDisconnect:
        raise Problem(400, "body", "the connection was closed", "send all of it") from None
    return await asyncio.to_thread(_unpacked, body) if encoding == "gzip" else body


async def _gather(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limits.BODY:
            raise Problem(413, "body", f"more than {limits.BODY:,} bytes", TOO_LARGE)
        parts.append(part)
    return b"".join(parts)


def _unpacked(body: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    try:
        out = stream.decompress(body, limits.BODY + 1)
    except zlib.error as error:
        raise Problem(400, "body", f"is not gzip: {error}", "gzip, or no Content-Encoding") from None
    if len(out) > limits.BODY:
        raise Problem(413, "body", "unpacks to too much", TOO_LARGE)
    if not stream.eof or stream.unused_data:
        what = "something follows its gzip" if stream.eof else "its gzip is cut short"
        raise Problem(400, "body", what, "all of one gzip stream and nothing else")
    return out
