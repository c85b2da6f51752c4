"""Thirty-two pixels at a time, for numba: what its compiler does not find by itself in scalar loops.

LLVM has the instructions, on every processor: these functions ask for them by name. A vector holds thirty-two values of
one plane as 16-bit fixed point, grey level times 256. Positions are flat indices into C-contiguous arrays; a vector may
begin anywhere. None of the functions looks at bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import models, register_model

from pipelines.augment.cpu.compiler import intrinsic

LANES = 32
BLOCK = 8  # side of the square that ``transpose_block`` turns
BYTE, SHORT, INT, LONG = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
VECTOR = ir.VectorType(SHORT, LANES)


class VectorType(types.Type):
    """Thirty-two uint16."""

    def __init__(self) -> None:
        super().__init__(name="uint16x32")


vector = VectorType()


@register_model(VectorType)
class VectorModel(models.PrimitiveModel):
    """How LLVM sees a vector."""

    def __init__(self, manager: Any, kind: types.Type) -> None:
        super().__init__(manager, kind, VECTOR)


def pointer(context: Any, builder: ir.IRBuilder, kind: types.Array, array: ir.Value, at: ir.Value) -> ir.Value:
    """Where element ``at`` of an array begins."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [at])


def read(builder: ir.IRBuilder, place: ir.Value, element: ir.Type, lanes: int) -> ir.Value:
    """Load ``lanes`` elements from anywhere."""
    return builder.load(builder.bitcast(place, ir.VectorType(element, lanes).as_pointer()), align=1)


def write(builder: ir.IRBuilder, value: ir.Value, place: ir.Value) -> None:
    """Store a vector anywhere."""
    builder.store(value, builder.bitcast(place, value.type.as_pointer()), align=1)


def shuffle(builder: ir.IRBuilder, first: ir.Value, second: ir.Value, lanes: list[int]) -> ir.Value:
    """The named lanes of two vectors laid end to end."""
    mask = ir.Constant(ir.VectorType(INT, len(lanes)), lanes)
    return builder.shuffle_vector(first, second, mask)


def spread(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """One value in every lane."""
    first = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), value, ir.Constant(INT, 0))
    return shuffle(builder, first, first, [0] * LANES)


@intrinsic
def splat(typing: Any, value: types.Type) -> tuple[Any, Callable]:
    """A vector of one uint16 in every lane."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return spread(builder, arguments[0])

    return vector(types.uint16), emit


@intrinsic
def load(typing: Any, plane: types.Type, at: types.Type) -> tuple[Any, Callable]:
    """The uint16 from ``plane[at]`` on."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        place = pointer(context, builder, signature.args[0], *arguments)
        return read(builder, place, SHORT, LANES)

    return vector(plane, types.intp), emit


@intrinsic
def store(typing: Any, value: types.Type, plane: types.Type, at: types.Type) -> tuple[Any, Callable]:
    """Write a vector to ``plane[at]`` and after."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        place = pointer(context, builder, signature.args[1], arguments[1], arguments[2])
        write(builder, arguments[0], place)
        return context.get_dummy_value()

    return types.void(vector, plane, types.intp), emit


def lanewise(emit: Callable[..., ir.Value]) -> Any:
    """An operation on two vectors, lane by lane."""

    @intrinsic
    def operation(typing: Any, a: types.Type, b: types.Type) -> tuple[Any, Callable]:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            return emit(builder, *arguments)

        return vector(vector, vector), generate

    return operation


def call(builder: ir.IRBuilder, name: str, *arguments: ir.Value) -> ir.Value:
    """One of LLVM's own functions on vectors."""
    kind = ir.FunctionType(VECTOR, [VECTOR] * len(arguments))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}i16"), arguments)


@lanewise
def add(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The sums, modulo 65536."""
    return builder.add(a, b)


@lanewise
def subtract(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The differences, modulo 65536."""
    return builder.sub(a, b)


@lanewise
def add_clamped(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The sums, at most 65535."""
    return call(builder, "uadd.sat", a, b)


@lanewise
def subtract_clamped(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The differences, at least 0."""
    return call(builder, "usub.sat", a, b)


@lanewise
def scale(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The products divided by 65536, rounded down: one factor is a fraction.

    Named as a product of fixed-point numbers, which is the upper half of the product, it becomes the instruction that
    a processor has for that (x86: ``pmulhuw``). In the general terms of widening, multiplying and shifting LLVM finds
    it only where both factors are widened next to the product, and a loop's constant factor is widened before the loop.
    """
    kind = ir.FunctionType(VECTOR, [VECTOR, VECTOR, INT])
    product = cgutils.get_or_insert_function(builder.module, kind, f"llvm.umul.fix.v{LANES}i16")
    return builder.call(product, [a, b, ir.Constant(INT, 16)])


@lanewise
def shift_left(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """``a << b``."""
    return builder.shl(a, b)


@lanewise
def shift_right(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """``a >> b``."""
    return builder.lshr(a, b)


@lanewise
def least(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The smaller ones of signed values."""
    return call(builder, "smin", a, b)


@lanewise
def greatest(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The larger ones of signed values."""
    return call(builder, "smax", a, b)


@lanewise
def unsigned_least(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The smaller ones of unsigned values."""
    return call(builder, "umin", a, b)


@lanewise
def distance(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """``abs(a - b)`` of signed values."""
    difference = builder.sub(a, b)
    return call(builder, "smax", difference, builder.sub(ir.Constant(VECTOR, [0] * LANES), difference))


@lanewise
def equal(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """All bits set where equal, else none."""
    return builder.sext(builder.icmp_unsigned("==", a, b), VECTOR)


@lanewise
def less(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """All bits set where less, as signed values, else none."""
    return builder.sext(builder.icmp_signed("<", a, b), VECTOR)


@lanewise
def both(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The bits set in both."""
    return builder.and_(a, b)


@intrinsic
def reverse(typing: Any, value: types.Type) -> tuple[Any, Callable]:
    """The lanes in the opposite order."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return shuffle(builder, arguments[0], arguments[0], list(range(LANES - 1, -1, -1)))

    return vector(vector), emit


@intrinsic
def choose(typing: Any, mask: types.Type, a: types.Type, b: types.Type) -> tuple[Any, Callable]:
    """``a`` where the mask's bits are set, else ``b``."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        mask, a, b = arguments
        chosen = builder.icmp_signed("<", mask, ir.Constant(VECTOR, [0] * LANES))
        return builder.select(chosen, a, b)

    return vector(vector, vector, vector), emit


@intrinsic
def split_pixels(
    typing: Any, pixels: types.Type, at: types.Type, planes: types.Type, to: types.Type, stride: types.Type
) -> tuple[Any, Callable]:
    """Interleaved RGB pixels, uint8, to the three planes at ``to``, ``to + stride``, ``to + 2 * stride``."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        array, at, planes, to, stride = arguments
        place = pointer(context, builder, signature.args[0], array, at)
        first, second, third = (
            read(builder, builder.gep(place, [ir.Constant(LONG, LANES * part)]), BYTE, LANES) for part in range(3)
        )
        both = shuffle(builder, first, second, list(range(2 * LANES)))
        rest = shuffle(builder, third, third, list(range(2 * LANES)))
        for channel in range(3):
            lanes = [channel + 3 * lane for lane in range(LANES)]
            levels = builder.zext(shuffle(builder, both, rest, lanes), VECTOR)
            levels = builder.shl(levels, ir.Constant(VECTOR, [8] * LANES))
            write(builder, levels, pointer(context, builder, signature.args[2], planes, to))
            to = builder.add(to, stride)
        return context.get_dummy_value()

    return types.void(pixels, types.intp, planes, types.intp, types.intp), emit


@intrinsic
def join_pixels(
    typing: Any, red: types.Type, green: types.Type, blue: types.Type, pixels: types.Type, at: types.Type
) -> tuple[Any, Callable]:
    """Round three vectors to whole levels and write them as interleaved RGB pixels, uint8."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        *planes, array, at = arguments
        place = pointer(context, builder, signature.args[3], array, at)
        levels = []
        for plane in planes:
            rounded = builder.add(plane, ir.Constant(VECTOR, [128] * LANES))
            shifted = builder.lshr(rounded, ir.Constant(VECTOR, [8] * LANES))
            levels.append(builder.trunc(shifted, ir.VectorType(BYTE, LANES)))
        both = shuffle(builder, levels[0], levels[1], list(range(2 * LANES)))
        rest = shuffle(builder, levels[2], levels[2], list(range(2 * LANES)))
        for part in range(3):
            byte = range(LANES * part, LANES * (part + 1))
            chunk = shuffle(builder, both, rest, [b % 3 * LANES + b // 3 for b in byte])
            write(builder, chunk, builder.gep(place, [ir.Constant(LONG, LANES * part)]))
        return context.get_dummy_value()

    return types.void(vector, vector, vector, pixels, types.intp), emit


@intrinsic
def transpose_block(
    typing: Any, source: types.Type, at: types.Type, stride: types.Type, target: types.Type, to: types.Type, pitch: Any
) -> tuple[Any, Callable]:
    """Eight by eight uint16 from rows ``stride`` apart to columns in rows ``pitch`` apart."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        source, at, stride, target, to, pitch = arguments
        rows = []
        for _ in range(BLOCK):
            rows.append(read(builder, pointer(context, builder, signature.args[0], source, at), SHORT, BLOCK))
            at = builder.add(at, stride)
        low = [lane for i in range(BLOCK // 2) for lane in (i, BLOCK + i)]
        high = [lane + BLOCK // 2 for lane in low]
        for _ in range(3):  # a perfect shuffle of rows and lanes, as often as 8 is a power of two
            pairs = [(rows[i], rows[i + BLOCK // 2]) for i in range(BLOCK // 2)]
            rows = [shuffle(builder, *pair, half) for pair in pairs for half in (low, high)]
        for row in rows:
            write(builder, row, pointer(context, builder, signature.args[3], target, to))
            to = builder.add(to, pitch)
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, target, types.intp, types.intp), emit


@intrinsic
def total(typing: Any, value: types.Type) -> tuple[Any, Callable]:
    """The exact sum of a vector's lanes, an integer."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        wide = ir.VectorType(INT, LANES)
        reduce = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(INT, [wide]), f"llvm.vector.reduce.add.v{LANES}i32"
        )
        return builder.zext(builder.call(reduce, [builder.zext(arguments[0], wide)]), LONG)

    return types.int64(vector), emit
