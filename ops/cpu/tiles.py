"""The inner loop of matrix products over rows that lie anywhere in memory, for numba.

A product of gathered rows through BLAS copies them together first and adds the result back afterwards, which takes as long as the
product where the matrices are narrow. Here a tile of the result stays in registers, and the rows are read and added to in place.
"""

from __future__ import annotations

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

ROWS = 6  # a tile of 6 rows of 2 vectors, the two vectors that are multiplied and one scalar fill the 16 registers of AVX2
VECTORS = 2
BYTES = 64 if binding.get_host_cpu_features().get("avx512f") else 32  # of a vector


def tile_columns(itemsize: int) -> int:
    """Columns of a tile for elements of so many bytes."""
    return VECTORS * BYTES // itemsize


@intrinsic
def add_tile(typing_context, left, left_at, left_step, right, right_at, right_step, steps, out, out_at, out_column, row):
    """out[out_at[row + r] + out_column + j] += sum over s of left[left_at[row + r] + s left_step] * right[right_at + s right_step + j].

    For r in [0, ROWS) and j in [0, tile_columns), all arrays flat; one product after the other, the rows r in their order.
    """

    def generate(context, builder, signature, arguments):
        element = context.get_value_type(signature.args[0].dtype)
        lanes = BYTES // context.get_abi_sizeof(element)
        vector, index = ir.VectorType(element, lanes), ir.IntType(64)
        undefined, zero = ir.Constant(vector, ir.Undefined), ir.Constant(vector, [0.0] * lanes)
        first_lane = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        data = [
            context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, arguments, strict=True)
        ]
        left, left_at, left_step, right, right_at, right_step, steps, out, out_at, out_column, row = data

        def vectors(base, offset):
            places = [builder.add(offset, index(v * lanes)) for v in range(VECTORS)]
            return [builder.bitcast(builder.gep(base, [place]), vector.as_pointer()) for place in places]

        def read(pointer):
            return builder.load(pointer, align=element_bytes)

        element_bytes = context.get_abi_sizeof(element)
        rows = [builder.add(row, index(r)) for r in range(ROWS)]
        lefts = [builder.gep(left, [builder.load(builder.gep(left_at, [r]))]) for r in rows]
        sums = [[cgutils.alloca_once(builder, vector) for _ in range(VECTORS)] for _ in range(ROWS)]
        for total in sum(sums, []):
            builder.store(zero, total)
        with cgutils.for_range(builder, steps) as loop:
            rights = [read(p) for p in vectors(right, builder.add(right_at, builder.mul(loop.index, right_step)))]
            at = builder.mul(loop.index, left_step)
            for r in range(ROWS):
                scalar = builder.insert_element(undefined, builder.load(builder.gep(lefts[r], [at])), ir.IntType(32)(0))
                factor = builder.shuffle_vector(scalar, undefined, first_lane)
                for total, other in zip(sums[r], rights, strict=True):
                    product = builder.fmul(factor, other, flags=("contract",))  # "contract": fused into one instruction
                    builder.store(builder.fadd(product, builder.load(total), flags=("contract",)), total)
        for r in range(ROWS):
            base = builder.add(builder.load(builder.gep(out_at, [rows[r]])), out_column)
            for pointer, total in zip(vectors(out, base), sums[r], strict=True):
                builder.store(builder.fadd(read(pointer), builder.load(total)), pointer, align=element_bytes)
        return context.get_dummy_value()

    i = types.intp
    return types.void(left, left_at, i, right, i, i, i, out, out_at, i, i), generate
