"""Vectors for compiled kernels: WIDTH neurons side by side, in registers, whatever registers the processor has.

numba compiles loops over arrays and leaves it to LLVM to find the vectors in them; in a scan over time, where the
state must stay in registers from step to step, it finds none. Here they are values of their own: `u = beta * u + load(
weights, offset)` is WIDTH neurons' step, two instructions each on AVX-512, four on AVX2, eight on NEON. Offsets count
elements of the flattened, contiguous array from its beginning; nothing is checked. No operation reorders a sum.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

# Wider blocks share the reading of event lists and the branches between more neurons, but the weights of a block no
# longer fit the caches next to the processor: 32 was fastest, 16 half as fast, 64 about the same.
WIDTH = 32

LINE = 64  # bytes that caches hold together
_INT = ir.IntType(32)


class Lanes(types.Type):
    """WIDTH numbers of one floating-point type."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, ir.VectorType(manager[kind.dtype].get_data_type(), WIDTH))


def _address(context: Any, builder: Any, kind: Any, array: Any, offset: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    vector = ir.VectorType(context.get_data_type(kind.dtype), WIDTH)
    return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())


def _bytes(kind: Any) -> int:
    return int(kind.dtype.bitwidth) // 8


def _splat(builder: Any, vector: Any, value: Any) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_INT, WIDTH), [0] * WIDTH))


def _up_to(builder: Any, count: Any) -> Any:
    """The mask of the first `count` lanes."""
    numbers = ir.VectorType(_INT, WIDTH)
    limit = _splat(builder, numbers, builder.trunc(count, _INT))
    return builder.icmp_signed("<", ir.Constant(numbers, list(range(WIDTH))), limit)


def _masked(builder: Any, name: str, vector: Any, kind: Any, result: Any, arguments: list[Any]) -> Any:
    called = ir.FunctionType(result, [a.type for a in arguments])
    full = f"llvm.masked.{name}.v{WIDTH}f{kind.dtype.bitwidth}.p0"
    return builder.call(cgutils.get_or_insert_function(builder.module, called, full), arguments)


@intrinsic
def load(typing: Any, array: Any, offset: Any) -> Any:
    """array[offset : offset + WIDTH]."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        loaded = builder.load(_address(context, builder, signature.args[0], *values))
        loaded.align = _bytes(array)
        return loaded

    return Lanes(array.dtype)(array, types.intp), generate


@intrinsic
def store(typing: Any, array: Any, offset: Any, lanes: Any) -> Any:
    """array[offset : offset + WIDTH] = lanes."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        stored = builder.store(values[2], _address(context, builder, signature.args[0], *values[:2]))
        stored.align = _bytes(array)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@intrinsic
def expect(typing: Any, array: Any, offset: Any) -> Any:
    """Tell the caches that array[offset : offset + WIDTH] will be read or written soon."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        called = ir.FunctionType(ir.VoidType(), [data.type, _INT, _INT, _INT])
        prefetch = cgutils.get_or_insert_function(builder.module, called, "llvm.prefetch.p0")
        for begin in range(0, WIDTH, LINE // _bytes(array)):
            place = builder.gep(data, [builder.add(values[1], ir.Constant(values[1].type, begin))])
            builder.call(prefetch, [place, *(ir.Constant(_INT, one) for one in (0, 3, 1))])  # read, near, data
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def load_first(typing: Any, array: Any, offset: Any, count: Any) -> Any:
    """array[offset : offset + count], and 0 in the lanes after these; memory beyond them is not touched."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = signature.args[0]
        vector = ir.VectorType(context.get_data_type(kind.dtype), WIDTH)
        address = _address(context, builder, kind, *values[:2])
        rest = [ir.Constant(_INT, _bytes(kind)), _up_to(builder, values[2]), ir.Constant(vector, None)]
        return _masked(builder, "load", vector, kind, vector, [address, *rest])

    return Lanes(array.dtype)(array, types.intp, types.intp), generate


@intrinsic
def store_first(typing: Any, array: Any, offset: Any, lanes: Any, count: Any) -> Any:
    """array[offset : offset + count] = the first of the lanes."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = signature.args[0]
        address = _address(context, builder, kind, *values[:2])
        arguments = [values[2], address, ir.Constant(_INT, _bytes(kind)), _up_to(builder, values[3])]
        _masked(builder, "store", values[2].type, kind, ir.VoidType(), arguments)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes, types.intp), generate


@intrinsic
def fill(typing: Any, number: Any) -> Any:
    """The same number in every lane."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _splat(builder, ir.VectorType(values[0].type, WIDTH), values[0])

    return Lanes(number)(number), generate


@intrinsic
def at(typing: Any, array: Any, offset: Any) -> Any:
    """The number at an offset; unlike `array[offset]` without looking whether to count from the end."""
    whole = isinstance(array.dtype, types.Integer) and array.dtype.signed

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        number = builder.load(builder.gep(data, [values[1]]))
        return builder.sext(number, ir.IntType(64)) if whole and array.dtype.bitwidth < 64 else number

    return (types.intp if whole else array.dtype)(array, types.intp), generate


@intrinsic
def add_product(typing: Any, total: Any, x: Any, y: Any) -> Any:
    """total + x * y, in one rounding where the processor does that in one instruction."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind, name = values[0].type, f"llvm.fmuladd.v{WIDTH}f{total.dtype.bitwidth}"
        called = ir.FunctionType(kind, [kind] * 3)
        return builder.call(
            cgutils.get_or_insert_function(builder.module, called, name), [values[1], values[2], values[0]]
        )

    return total(total, total, total), generate


def _arithmetic(symbol: Callable[[Any, Any], Any], instruction: str) -> None:
    @intrinsic
    def both(typing: Any, x: Any, y: Any) -> Any:
        return x(x, y), lambda context, builder, signature, values: getattr(builder, instruction)(*values)

    @overload(symbol)
    def of_lanes(x, y):  # type: ignore[no-untyped-def]
        return (lambda x, y: both(x, y)) if isinstance(x, Lanes) and isinstance(y, Lanes) else None


for _symbol, _instruction in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _arithmetic(_symbol, _instruction)
_arithmetic(operator.truediv, "fdiv")


@intrinsic
def magnitude(typing: Any, lanes: Any) -> Any:
    """|x| in each lane."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind, name = values[0].type, f"llvm.fabs.v{WIDTH}f{lanes.dtype.bitwidth}"
        return builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), name), values)

    return lanes(lanes), generate


@intrinsic
def where_above(typing: Any, lanes: Any, limit: Any, x: Any, y: Any) -> Any:
    """x where lanes > limit, y elsewhere."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", values[0], values[1]), values[2], values[3])

    return lanes(lanes, lanes, lanes, lanes), generate


@intrinsic
def bits_above(typing: Any, lanes: Any, limit: Any) -> Any:
    """Bit n is set where lane n > limit."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(builder.fcmp_ordered(">", values[0], values[1]), ir.IntType(WIDTH))

    return types.uint32(lanes, lanes), generate


@intrinsic
def where_bits(typing: Any, bits: Any, x: Any, y: Any) -> Any:
    """x where the lane's bit is set, y elsewhere."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        mask = builder.bitcast(values[0], ir.VectorType(ir.IntType(1), WIDTH))
        return builder.select(mask, values[1], values[2])

    return x(types.uint32, x, x), generate


@intrinsic
def lowest_bit(typing: Any, bits: Any) -> Any:
    """Number of the lowest bit that is set; there must be one."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.zext(builder.cttz(values[0], ir.Constant(ir.IntType(1), 1)), ir.IntType(64))

    return types.intp(types.uint32), generate


@intrinsic
def count_bits(typing: Any, bits: Any) -> Any:
    """How many bits are set."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.zext(builder.ctpop(values[0]), ir.IntType(64))

    return types.intp(types.uint32), generate


@intrinsic
def widened(typing: Any, lanes: Any) -> Any:
    """The same numbers in double precision."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.fpext(values[0], ir.VectorType(ir.DoubleType(), WIDTH))

    return Lanes(types.float64)(lanes), generate
