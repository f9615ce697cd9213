"""Arrays of numbers on the wire to NumPy: counted before anything is made of them, and converted a piece at a time.

A list of millions of numbers would take a gigabyte as Python objects, and its conversion in one piece would keep the
interpreter from everybody else for as long. A piece takes about a millisecond.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from snn_fusion.serving.problems import Problem, invalid
from snn_fusion.serving.undecoded import undecoded

LAST = 2**63 - 1  # whole numbers
LEAST = float(np.finfo(np.float32).min)
PIECE = 32_768  # bytes of JSON
FIXED, LISTS = range(0x90, 0xA0), {0xDC: 2, 0xDD: 4}  # MessagePack's lists: the length in the first byte, or after it
JSON_STARTS = b'"{[-0123456789tfn'  # in MessagePack each is a whole number, and all there is
INDEX = re.compile(r"\[(\d+)\](.*)", re.DOTALL)


def numbers(sent: msgspec.Raw, dtype: np.dtype[Any], at: str, most: int, top: int = LAST) -> npt.NDArray[Any]:
    """(n,) of at most `most` finite numbers: a list, or packed as `dtype`. Raises Problem.

    Whole numbers that 64 bits hold are compared with `top` by the caller.
    """
    content = memoryview(sent)
    opening = bytes(content[:1])
    if opening == b"[" and len(content) > 1:
        if len(content) > 2 * most:  # fewer bytes cannot hold too many
            _counted(_commas(content) + 1, at, most)
        parts = [_array(values, dtype, at, first, top) for first, values in _pieces(content, dtype, at)]
        return np.concatenate(parts)
    if (count := _listed(content)) is not None:
        _counted(count, at, most)
        return _array(_decoded(msgspec.msgpack, content, dtype, at), dtype, at, 0, top)
    wire = msgspec.json if len(content) > 1 and opening in JSON_STARTS else msgspec.msgpack
    packed = _decoded(wire, content, dtype, at)
    _counted(len(packed) // dtype.itemsize, at, most)
    if len(packed) % dtype.itemsize:
        raise invalid(at, f"{len(packed)} bytes", f"a multiple of {dtype.itemsize}: packed {dtype.name}")
    return _finite(np.frombuffer(packed, dtype), None, at, 0)


def _counted(count: int, at: str, most: int) -> None:
    if count > most:
        raise invalid(at, f"{count:,} values", f"at most {most:,}")


def _commas(content: memoryview) -> int:
    return sum(bytes(content[i : i + PIECE]).count(b",") for i in range(0, len(content), PIECE))


def _listed(content: memoryview) -> int | None:
    """How many values MessagePack's list says that it holds; None for anything else."""
    if content[0] in FIXED:
        return content[0] & 0x0F
    size = LISTS.get(content[0])
    return int.from_bytes(content[1 : 1 + size]) if size else None


def _pieces(content: memoryview, dtype: np.dtype[Any], at: str) -> Iterator[tuple[int, list[Any]]]:
    """A JSON list of numbers in pieces, each with the index of its first value. Numbers hold no commas."""
    start, end, first = 1, len(content) - 1, 0
    while True:
        stop = _comma(content, start + PIECE, end)
        values = _decoded(msgspec.json, b"[" + content[start:stop] + b"]", dtype, at, first)
        yield first, values
        if stop == end:
            return
        first, start = first + len(values), stop + 1


def _comma(content: memoryview, start: int, end: int) -> int:
    """Where the first comma from `start` on is; `end` if there is none."""
    for i in range(start, end, PIECE):
        if (place := bytes(content[i : min(i + PIECE, end)]).find(b",")) >= 0:
            return i + place
    return end


def _decoded(wire: Any, content: bytes | memoryview, dtype: np.dtype[Any], at: str, first: int = 0) -> Any:
    """A list, or packed bytes. Raises Problem naming the value; `first` is the index of the first one here."""
    kind = float if dtype.kind == "f" else int
    try:
        return wire.decode(content, type=list[kind] | bytes)  # type: ignore[valid-type]
    except msgspec.ValidationError as error:
        found = undecoded(error, list)
        place = INDEX.fullmatch(found.field)
        raise invalid(f"{at}[{first + int(place[1])}]{place[2]}" if place else at, found.problem, found.limit) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _broken(error, content, at, first) from None


def _broken(error: Exception, content: bytes | memoryview, at: str, first: int) -> Problem:
    """All of it is well-formed, so a piece that is not was cut within a text or a list: where that begins."""
    if content[:1] != b"[":
        return invalid(at, f"cannot be read: {str(error)[:80]}", "numbers")
    for i, one in enumerate(bytes(content[1:-1]).split(b",")):
        try:
            float(one)
        except ValueError:
            return invalid(f"{at}[{first + i}]", "is no number", "a number")
    return invalid(at, f"cannot be read: {str(error)[:80]}", "numbers")


def _array(given: list[Any], dtype: np.dtype[Any], at: str, first: int, top: int) -> npt.NDArray[Any]:
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return _finite(np.array(given, np.float64).astype(dtype), given, at, first)
    try:
        return np.array(given, np.int64)
    except OverflowError:
        worst = next(i for i, one in enumerate(given) if not -(2**63) <= one < 2**63)
        raise invalid(f"{at}[{first + worst}]", str(given[worst])[:40], f"0 ... {top:,}") from None


def _finite(values: npt.NDArray[Any], given: list[Any] | None, at: str, first: int) -> npt.NDArray[Any]:
    """Raises Problem for the first value that is not finite, or that 32 bits do not hold; `given` is what was sent."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return values
    worst = int(np.flatnonzero(~np.isfinite(values))[0])
    sent = float(values[worst] if given is None else given[worst])
    limit = f"{LEAST:.2g} ... {-LEAST:.2g}, which 32 bits hold" if np.isfinite(sent) else "a finite number"
    raise invalid(f"{at}[{first + worst}]", f"{sent}", limit)
