"""Triton kernels that run many formulas from tables: values and derivatives of all lanes by one launch.

A formula is a list of instructions, arguments before results; an instruction holds its operator, and of each argument
where its value comes from, the weight of its edge, and flags. See `evomal.losses.fused_formulas` for the table. Results
of instructions lie in memory that only the program instance itself reads, so its caches hold them.
"""

# mypy: ignore-errors
# Triton reads the code of kernels by itself: names of torch's kind of typing would mean something else in it.
# ruff: noqa: ANN201, ANN202

import triton
import triton.language as tl

COLUMNS = tl.constexpr(11)
# Where an argument comes from; constants beyond F stand for +1 and -1.
SLOT, Y, F, ONE = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2), tl.constexpr(3)
# Operators, in the order of the operator table; a test holds both together.
ADD, SUB, MUL, DIV, MIN, MAX = (tl.constexpr(code) for code in range(6))
SIGN, SQUARE, ABS, LOG, SQRT, TANH = (tl.constexpr(code) for code in range(6, 12))
EPSILON = tl.constexpr(1e-7)


@triton.jit
def _sign(x):
    return tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, x * 0.0))  # of NaN, NaN


@triton.jit
def _tanh(x):
    square = x * x
    near = x * (1.0 - square * (1.0 / 3.0 - square * (2.0 / 15.0 - square * (17.0 / 315.0))))
    power = tl.exp(-2.0 * tl.abs(x))
    far = _sign(x) * (1.0 - power) / (1.0 + power)
    return tl.where(tl.abs(x) < 0.1, near, far)


@triton.jit
def _length(x):
    """√(1 + x²) without squaring what is large."""
    size = tl.abs(x)
    large, small = tl.maximum(size, 1.0), tl.minimum(size, 1.0)
    ratio = small / large
    return large * tl.sqrt(1.0 + ratio * ratio)


@triton.jit
def _smaller(a, b, sign):
    """How much of a and b the smaller (sign -1) or greater one (1) takes of a: 1, ½ or 0."""
    return 0.5 + (0.5 * sign) * _sign(a - b)


@triton.jit
def _argument(row, y, f, values, tangents, at, mask, weights, stride):
    """An argument before it is weighted: value, tangent along f, weight; the row begins with source, slot, edge."""
    source, slot, edge = tl.load(row), tl.load(row + 1), tl.load(row + 2)
    weight = tl.load(weights + edge)
    if source == SLOT:
        value = tl.load(values + slot * stride + at, mask=mask, other=0.0)
        tangent = tl.load(tangents + slot * stride + at, mask=mask, other=0.0)
    else:
        constant = tl.where(source == ONE, 1.0, -1.0).to(f.dtype)
        value = tl.where(source == Y, y, tl.where(source == F, f, constant))
        tangent = tl.where(source == F, 1.0, 0.0).to(f.dtype) + tl.zeros_like(f)
    return value, tangent, weight


@triton.jit
def _kept(flag, x):
    """x, or exact zeros whatever x holds."""
    return tl.where(flag != 0, x, 0.0)


SIZES = ("elements", "slots", "width")  # no size of theirs needs code of its own


@triton.jit(do_not_specialize=SIZES)
def forward(
    y_at, f_at, weights_at, code_at, counts_at, values_at, tangents_at, value_at, tangent_at,
    elements, slots, width, BLOCK: tl.constexpr,
):  # fmt: skip
    """Values and tangents along f of all lanes: y [E], f [N, E] → value [N, E], tangent [N, E]; scratch [N, S, E]."""
    lane = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = at < elements
    y = tl.load(y_at + at, mask=mask, other=0.0)
    f = tl.load(f_at + lane * elements + at, mask=mask, other=0.0)
    weights = weights_at + lane * width
    values, tangents = values_at + lane * slots * elements, tangents_at + lane * slots * elements
    count = tl.load(counts_at + lane)
    v, t = tl.zeros_like(f), tl.zeros_like(f)
    for i in range(count):
        row = code_at + (lane * slots + i) * COLUMNS
        op = tl.load(row)
        va, ta, wa = _argument(row + 1, y, f, values, tangents, at, mask, weights, elements)
        vb, tb, wb = _argument(row + 6, y, f, values, tangents, at, mask, weights, elements)
        a, b, move_a, move_b = wa * va, wb * vb, tl.load(row + 4), tl.load(row + 9)
        da, db = _kept(move_a, wa * ta), _kept(move_b, wb * tb)
        if op == ADD:
            v, t = a + b, da + db
        elif op == SUB:
            v, t = a - b, da - db
        elif op == MUL:
            v, t = a * b, _kept(move_a, da * b) + _kept(move_b, a * db)
        elif op == DIV:
            h = _length(b)
            v = a / h
            t = da / h - _kept(move_b, v * (b / h) * (db / h))
        elif op == MIN:
            share = _smaller(a, b, -1.0)
            v, t = tl.where(a != a, a, tl.where(b != b, b, tl.minimum(a, b))), share * da + (1.0 - share) * db
        elif op == MAX:
            share = _smaller(a, b, 1.0)
            v, t = tl.where(a != a, a, tl.where(b != b, b, tl.maximum(a, b))), share * da + (1.0 - share) * db
        elif op == SIGN:
            v, t = _sign(a), tl.zeros_like(a)
        elif op == SQUARE:
            v, t = a * a, _kept(move_a, da * (2.0 * a))
        elif op == ABS:
            v, t = tl.abs(a), _kept(move_a, da * _sign(a))
        elif op == LOG:
            size = tl.abs(a) + EPSILON
            v, t = tl.log(size), _kept(move_a, da * (_sign(a) / size))
        elif op == SQRT:
            v = tl.sqrt(tl.abs(a) + EPSILON)
            t = _kept(move_a, da * (_sign(a) / (2.0 * v)))
        else:
            v = _tanh(a)
            t = _kept(move_a, da * (1.0 - v * v))
        tl.store(values + i * elements + at, v, mask=mask)
        tl.store(tangents + i * elements + at, t, mask=mask)
        tl.debug_barrier()  # whichever thread reads it next
    tl.store(value_at + lane * elements + at, v, mask=mask)
    tl.store(tangent_at + lane * elements + at, t, mask=mask)


@triton.jit(do_not_specialize=SIZES)
def backward(
    y_at, f_at, weights_at, code_at, counts_at, values_at, tangents_at, value_bar_at, tangent_bar_at,
    values_bar_at, tangents_bar_at, parts_at, elements, slots, width, BLOCK: tl.constexpr,
):  # fmt: skip
    """From adjoints of value and tangent [N, E] to those of the weights, a part for each block: [N, blocks, width]."""
    lane = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = at < elements
    y = tl.load(y_at + at, mask=mask, other=0.0)
    f = tl.load(f_at + lane * elements + at, mask=mask, other=0.0)
    weights = weights_at + lane * width
    values, tangents = values_at + lane * slots * elements, tangents_at + lane * slots * elements
    values_bar, tangents_bar = values_bar_at + lane * slots * elements, tangents_bar_at + lane * slots * elements
    parts = parts_at + (lane * tl.num_programs(1) + tl.program_id(1)) * width
    count = tl.load(counts_at + lane)
    for j in range(count):
        i = count - 1 - j
        row = code_at + (lane * slots + i) * COLUMNS
        op = tl.load(row)
        if j == 0:
            gv = tl.load(value_bar_at + lane * elements + at, mask=mask, other=0.0)
            gt = tl.load(tangent_bar_at + lane * elements + at, mask=mask, other=0.0)
        else:
            gv = tl.load(values_bar + i * elements + at, mask=mask, other=0.0)
            gt = tl.load(tangents_bar + i * elements + at, mask=mask, other=0.0)
        va, ta, wa = _argument(row + 1, y, f, values, tangents, at, mask, weights, elements)
        vb, tb, wb = _argument(row + 6, y, f, values, tangents, at, mask, weights, elements)
        a, b, move_a, move_b = wa * va, wb * vb, tl.load(row + 4), tl.load(row + 9)
        da, db = _kept(move_a, wa * ta), _kept(move_b, wb * tb)
        v = tl.load(values + i * elements + at, mask=mask, other=0.0)
        # Adjoints of a, a′, b, b′ in this order.
        zero = tl.zeros_like(f)
        ga, gda, gb, gdb = zero, zero, zero, zero
        if op == ADD:
            ga, gda, gb, gdb = gv, gt, gv, gt
        elif op == SUB:
            ga, gda, gb, gdb = gv, gt, -gv, -gt
        elif op == MUL:
            ga, gda = gv * b + _kept(move_b, gt * db), gt * b
            gb, gdb = gv * a + _kept(move_a, gt * da), gt * a
        elif op == DIV:
            h = _length(b)
            q = b / h
            ga, gda = (gv - _kept(move_b, gt * q * (db / h))) / h, gt / h
            gb = -gv * v * (q / h) - _kept(move_a, gt * (q / h) * (da / h))
            gb -= _kept(move_b, gt * (v / h) * (1.0 - 3.0 * q * q) * (db / h))
            gdb = -gt * v * (q / h)
        elif op == MIN:
            share = _smaller(a, b, -1.0)
            ga, gda, gb, gdb = gv * share, gt * share, gv * (1.0 - share), gt * (1.0 - share)
        elif op == MAX:
            share = _smaller(a, b, 1.0)
            ga, gda, gb, gdb = gv * share, gt * share, gv * (1.0 - share), gt * (1.0 - share)
        elif op == SQUARE:
            ga, gda = gv * 2.0 * a + _kept(move_a, gt * 2.0 * da), gt * 2.0 * a
        elif op == ABS:
            s = _sign(a)
            ga, gda = gv * s, gt * s
        elif op == LOG:
            rate = _sign(a) / (tl.abs(a) + EPSILON)
            ga, gda = gv * rate - _kept(move_a, gt * da * rate * rate), gt * rate
        elif op == SQRT:
            rate = _sign(a) / (2.0 * v)
            ga, gda = gv * rate - _kept(move_a, gt * da * rate * rate / v), gt * rate
        elif op == TANH:
            rate = 1.0 - v * v
            ga, gda = gv * rate - _kept(move_a, gt * da * (2.0 * v * rate)), gt * rate
        # The adjoint of a weight, of the argument's value and of its tangent; nothing goes below a sign.
        _hand_down(row + 1, ga, gda, va, ta, wa, values_bar, tangents_bar, parts, at, mask, elements)
        _hand_down(row + 6, gb, gdb, vb, tb, wb, values_bar, tangents_bar, parts, at, mask, elements)
        tl.debug_barrier()


@triton.jit
def _hand_down(row, g, gd, value, tangent, weight, values_bar, tangents_bar, parts, at, mask, stride):
    """Adjoints of a weighted argument to its weight and to the instruction that it comes from."""
    source, slot, edge, move, live = (
        tl.load(row),
        tl.load(row + 1),
        tl.load(row + 2),
        tl.load(row + 3),
        tl.load(row + 4),
    )
    if live != 0:
        both = g * value + _kept(move, gd * tangent)
        tl.store(parts + edge, tl.sum(tl.where(mask, both, 0.0), axis=0))
        if source == SLOT:
            tl.store(values_bar + slot * stride + at, g * weight, mask=mask)
            tl.store(tangents_bar + slot * stride + at, gd * weight, mask=mask)
