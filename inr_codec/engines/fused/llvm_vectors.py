"""Writing LLVM code in explicit vectors of float32, for the loops over tiles (`tiles`).

Left to the compiler's own vectoriser, those loops load and store their sums at every term; written by hand, a block of
sums stays in registers from its first term to its last, and there is much less code to compile. Python loops unroll
it, LLVM picks the instructions: one source for every processor. How long vectors are, and how many the registers
hold, follows from the processor that numba compiles for (NUMBA_CPU_NAME and NUMBA_CPU_FEATURES, or the machine's own).
"""

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic

FLOAT, INT32, INDEX = ir.FloatType(), ir.IntType(32), ir.IntType(64)


def in_vectors(write):
    """A function without a result for numba kernels, with the code that `write(v, *arguments)` writes.

    v: Vectors. Arguments are int64 or float32 values, and flat arrays of float32, which come as pointers to their first
    value.
    """

    def generate(context, builder, signature, arguments):
        (kinds,), (packed,) = signature.args, arguments
        plain = [
            context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
            for kind, value in zip(kinds, cgutils.unpack_tuple(builder, packed, len(kinds)))
        ]
        write(Vectors(context, builder), *plain)
        return context.get_dummy_value()

    @intrinsic
    def written(context, *kinds):
        kinds = [types.unliteral(kind) for kind in kinds]
        for kind in kinds:
            flat = isinstance(kind, types.Array) and (kind.dtype, kind.ndim, kind.layout) == (types.float32, 1, "C")
            if not flat and kind not in (types.int64, types.float32):
                raise TypingError(f"expected int64, float32 or a flat array of float32, got {kind}: convert it before")
        return types.void(types.StarArgTuple.from_types(kinds)), generate

    return written


def registers(triple, features):
    """Values in a vector of a processor, and how many vectors of sums it has registers for (half of those it has)."""
    most = "+avx512f" in features
    lanes = 16 if most else 8 if "+avx" in features else 4
    return lanes, 16 if most or triple.startswith(("aarch64", "arm64")) else 8


class Vectors:
    """Vector operations that are written through an LLVM builder.

    lanes: values in a vector, by default (and with them `sums`) as `registers` of the processor.
    """

    def __init__(self, context, builder, lanes=None):
        triple, _, features = context.codegen().magic_tuple()
        most, self.sums = registers(triple, features.split(","))
        self.context, self.builder, self.lanes = context, builder, lanes or most
        self.type = ir.VectorType(FLOAT, self.lanes)
        self.bits = ir.VectorType(INT32, self.lanes)

    def constant(self, value):
        """The vector that has this number in all its lanes."""
        return ir.Constant(self.type, [float(np.float32(value))] * self.lanes)

    def spread(self, value):
        """The vector that has this float32 value in all its lanes."""
        nothing = ir.Constant(self.type, ir.Undefined)
        return self.shuffle(self.builder.insert_element(nothing, value, INT32(0)), nothing, [0] * self.lanes)

    def shuffle(self, a, b, lanes):
        """The vector of these lanes of a, with those of b behind."""
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INT32, len(lanes)), lanes))

    def at(self, pointer, *offsets):
        """pointer + offsets; each is an LLVM value, an integer, or a product of such (a pair)."""
        for offset in offsets:
            a, b = map(_index, offset if isinstance(offset, tuple) else (offset, 1))
            pointer = self.builder.gep(pointer, [self.builder.mul(a, b)])
        return pointer

    def load(self, pointer, kind=None):
        """The vector at a pointer to float32, which need not be aligned."""
        return self.builder.load(self.builder.bitcast(pointer, (kind or self.type).as_pointer()), align=4)

    def store(self, value, pointer):
        """Write a vector to a pointer to float32."""
        self.builder.store(value, self.builder.bitcast(pointer, value.type.as_pointer()), align=4)

    def variables(self, *values):
        """Variables that begin as these vectors; LLVM keeps them in registers."""
        return [cgutils.alloca_once_value(self.builder, value) for value in values]

    def fma(self, a, b, c):
        """a * b + c, rounded once where the processor can."""
        kind = ir.FunctionType(self.type, [self.type] * 3)
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.fmuladd.v{self.lanes}f32")
        return self.builder.call(function, [a, b, c])

    def add_product(self, variable, a, b):
        """variable += a * b."""
        self.builder.store(self.fma(a, b, self.builder.load(variable)), variable)

    def polynomial(self, x, coefficients):
        """The polynomial of x with these coefficients (vectors), the constant one first."""
        *rest, value = coefficients
        for coefficient in reversed(rest):
            value = self.fma(value, x, coefficient)
        return value

    def negated_where_odd(self, value, integer):
        """value, or -value in the lanes where the last bit of `integer` (a vector of float32) is set."""
        flip = self.builder.shl(self.builder.bitcast(integer, self.bits), ir.Constant(self.bits, [31] * self.lanes))
        return self.builder.bitcast(self.builder.xor(self.builder.bitcast(value, self.bits), flip), self.type)

    def totals(self, vectors):
        """A vector that begins with the sums over the lanes of `vectors` (a power of 2 of them, at most `lanes`).

        Each step of a tree of additions makes one vector of two, and leaves half as many lanes to each sum.
        """
        width = self.lanes
        while width > 1:
            low = [k for k in range(2 * self.lanes) if k % width < width // 2]
            high = [k + width // 2 for k in low]
            pairs = zip(vectors[::2], vectors[1::2] or vectors)
            vectors = [self.builder.fadd(self.shuffle(a, b, low), self.shuffle(a, b, high)) for a, b in pairs]
            width //= 2
        return vectors[0]

    def blocks(self, end, *sizes):
        """Write the loop `for (; k + size <= end; k += size)` for each size in turn, from k = 0 on.

        Gives size and k; the body of the Python loop writes that of the written one.
        """
        builder = self.builder
        counter = cgutils.alloca_once_value(builder, INDEX(0))
        for size in sizes:
            head, body, behind = (builder.append_basic_block() for _ in range(3))
            builder.branch(head)
            builder.position_at_end(head)
            now = builder.load(counter)
            after = builder.add(now, INDEX(size))
            builder.cbranch(builder.icmp_signed("<=", after, _index(end)), body, behind)
            builder.position_at_end(body)
            yield size, now
            builder.store(after, counter)
            builder.branch(head)
            builder.position_at_end(behind)


def _index(value):
    return INDEX(value) if isinstance(value, int) else value
