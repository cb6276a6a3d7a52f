"""The loop-nest form: what every generated kernel is before a printer turns it into text.

Lowering builds nests out of the few expressions and statements below; the printers of
`symnet.compile.print_numba` and `symnet.backend.cpu.print_llvm` turn the same nest into Numba source
and LLVM IR. A nest sees raw one-dimensional buffers, 64-bit sizes, and typed scalars; nothing else.

Conventions
-----------
* A buffer is a pointer to scalars of one dtype, indexed by a 64-bit element offset. Two buffer
  parameters of one kernel never overlap: a buffer that is read and written is one parameter.
* Loop variables, sizes and indices are int64.
* Scalars are typed by NumPy dtype names; `Cast` is the only conversion. Conversions and arithmetic
  mean what NumPy's mean (integers wrap; `floordiv` and `mod` round to minus infinity, and give 0 for
  an integer divisor 0; `minimum` and `maximum` hand NaN on; comparisons give bool). An integer to a
  negative power, which NumPy refuses, is its truncated quotient: 0 but for the bases 1 and -1 (and
  for the base 0, a division by zero, 0). `rint` goes to the even neighbour.
* A kernel returns 0, or 1 after `Fail` wrote the site and its values into the status words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

BOOL = "bool"
INDEX = "int64"

FLOATS = ("float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")

#: Functions of the scalar dialect by the rule for their result's dtype. "same": every argument has one
#: dtype and so has the result. "bool": one dtype in, bool out.
SAME = (
    "add sub mul div floordiv mod fmod pow neg abs sign minimum maximum fma "
    "bitwise_and bitwise_or bitwise_xor bitwise_not shift_left shift_right "
    "sqrt exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos arctan arctan2 sinh cosh tanh "
    "arcsinh arccosh arctanh sigmoid erf erfc gamma lgamma floor ceil trunc rint round_half_away "
    "copysign hypot"
).split()
TO_BOOL = "eq ne lt le gt ge isnan isinf".split()
#: `bits_of` reads a float as an unsigned integer of its width, `from_bits` the other way.
BITS_OF = {"float32": "uint32", "float64": "uint64"}
FROM_BITS = {bits: number for number, bits in BITS_OF.items()}


# --- expressions -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expression:
    """A typed scalar value."""

    dtype: str


@dataclass(frozen=True, slots=True)
class Literal(Expression):
    """A number known when the kernel is made."""

    value: bool | int | float


@dataclass(frozen=True, slots=True)
class Name(Expression):
    """A loop variable, a size, a `Let`, or a declared variable."""

    name: str


@dataclass(frozen=True, slots=True)
class Load(Expression):
    """The element of a buffer at an element offset (int64)."""

    buffer: str
    index: Expression


@dataclass(frozen=True, slots=True)
class Call(Expression):
    """A function of the scalar dialect (`SAME`, `TO_BOOL`, or one in `symnet.compile.library`)."""

    function: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Cast(Expression):
    """A value converted as `numpy.asarray(value).astype(dtype)` converts it."""

    value: Expression


@dataclass(frozen=True, slots=True)
class Select(Expression):
    """`then` where `condition` (bool) holds, else `otherwise`; both are evaluated, neither may fail."""

    condition: Expression
    then: Expression
    otherwise: Expression


# --- statements ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Statement:
    """A step of a nest."""


@dataclass(frozen=True, slots=True)
class Let(Statement):
    """A name for a value, never assigned again."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Declare(Statement):
    """A variable with its first value; `Assign` and `Accumulate` change it."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Assign(Statement):
    """A new value for a declared variable."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Accumulate(Statement):
    """`name = function(name, value)` in a loop whose order does not matter to the user.

    `function` is add, mul, minimum, maximum, bitwise_and or bitwise_or; a printer may keep partial
    results in vector lanes (that alone, no other liberty: NaN and infinity come out as they would).
    """

    name: str
    function: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Store(Statement):
    """`buffer[index] = value`."""

    buffer: str
    index: Expression
    value: Expression


@dataclass(frozen=True, slots=True)
class For(Statement):
    """`for name in range(extent)`. `parallel`: iterations are independent and may run on any thread.

    `vector`: iterations are independent and their stores unit-stride, so lanes may take one each.
    """

    name: str
    extent: Expression
    body: tuple[Statement, ...]
    parallel: bool = False
    vector: bool = False


@dataclass(frozen=True, slots=True)
class If(Statement):
    """A branch on a bool."""

    condition: Expression
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...] = ()


@dataclass(frozen=True, slots=True)
class Fail(Statement):
    """Write `site` and up to three int64 values into the status words and return 1."""

    site: int
    values: tuple[Expression, ...] = ()


# --- kernels ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BufferParameter:
    """A pointer that a kernel receives; `written` says whether it stores there."""

    name: str
    dtype: str
    written: bool


@dataclass(frozen=True, slots=True)
class Nest:
    """One kernel: parameters, body, and comment lines that say which nodes and user lines it covers.

    The C signature is `int32 name(T0* buffer0, …, int64 size0, …, int64* status)`; `status` points at
    four words: site, then three values.
    """

    name: str
    buffers: tuple[BufferParameter, ...]
    sizes: tuple[str, ...]
    body: tuple[Statement, ...]
    comments: tuple[str, ...] = field(default=(), compare=False)


# --- making expressions ----------------------------------------------------------------------------


def index(value: int | Expression) -> Expression:
    """An int64 expression from a Python int or an expression."""
    return value if isinstance(value, Expression) else Literal(INDEX, int(value))


def call(function: str, *arguments: Expression) -> Expression:
    """A dialect call whose dtype follows from the function; integer index arithmetic is folded.

    Raises
    ------
    TypeError
        When the arguments' dtypes differ or the function is not in the dialect.
    """
    dtypes = {a.dtype for a in arguments}
    if len(dtypes) != 1:
        raise TypeError(f"{function}: arguments of different dtypes {[a.dtype for a in arguments]}")
    if function in TO_BOOL:
        return Call(BOOL, function, arguments)
    if function in ("bits_of", "from_bits"):
        dtype = (BITS_OF if function == "bits_of" else FROM_BITS).get(arguments[0].dtype)
        if dtype is None:
            raise TypeError(f"{function}: an argument of dtype {arguments[0].dtype}")
        return Call(dtype, function, arguments)
    if function not in SAME:
        raise TypeError(f"{function} is not a function of the scalar dialect")
    dtype = arguments[0].dtype
    if dtype == INDEX:
        folded = _fold_index(function, arguments)
        if folded is not None:
            return folded
    return Call(dtype, function, arguments)


def _fold_index(function: str, arguments: tuple[Expression, ...]) -> Expression | None:
    values = [a.value if isinstance(a, Literal) else None for a in arguments]
    if function in ("add", "sub", "mul") and None not in values:
        left, right = int(values[0]), int(values[1])  # type: ignore[arg-type]
        return Literal(INDEX, {"add": left + right, "sub": left - right, "mul": left * right}[function])
    if function == "add":
        if values[0] == 0:
            return arguments[1]
        if values[1] == 0:
            return arguments[0]
    elif function == "sub" and values[1] == 0:
        return arguments[0]
    elif function == "mul":
        if 0 in values:
            return Literal(INDEX, 0)
        if values[0] == 1:
            return arguments[1]
        if values[1] == 1:
            return arguments[0]
    return None


def add(left: int | Expression, right: int | Expression) -> Expression:
    """The sum of two indices."""
    return call("add", index(left), index(right))


def subtract(left: int | Expression, right: int | Expression) -> Expression:
    """The difference of two indices."""
    return call("sub", index(left), index(right))


def multiply(left: int | Expression, right: int | Expression) -> Expression:
    """The product of two indices."""
    return call("mul", index(left), index(right))


def cast(value: Expression, dtype: str) -> Expression:
    """The value in another dtype; the value itself where it has that dtype already."""
    if value.dtype == dtype:
        return value
    if isinstance(value, Literal) and dtype in FLOATS and value.dtype in INTEGERS:
        return Literal(dtype, float(value.value))
    return Cast(dtype, value)


# --- walking ---------------------------------------------------------------------------------------


def expressions_of(statement: Statement) -> tuple[Expression, ...]:
    """The expressions that stand directly in a statement."""
    match statement:
        case Let(value=value) | Declare(value=value) | Assign(value=value) | Accumulate(value=value):
            return (value,)
        case Store(index=where, value=value):
            return (where, value)
        case For(extent=extent):
            return (extent,)
        case If(condition=condition):
            return (condition,)
        case Fail(values=values):
            return values
    return ()


def blocks_of(statement: Statement) -> tuple[tuple[Statement, ...], ...]:
    """The statement lists inside a statement."""
    match statement:
        case For(body=body):
            return (body,)
        case If(then=then, otherwise=otherwise):
            return (then, otherwise)
    return ()


def walk_statements(body: tuple[Statement, ...]) -> Iterator[Statement]:
    """Every statement of a body, outer before inner."""
    for statement in body:
        yield statement
        for block in blocks_of(statement):
            yield from walk_statements(block)


def walk_expression(expression: Expression) -> Iterator[Expression]:
    """An expression and all the expressions in it."""
    yield expression
    match expression:
        case Load(index=where):
            yield from walk_expression(where)
        case Call(arguments=arguments):
            for argument in arguments:
                yield from walk_expression(argument)
        case Cast(value=value):
            yield from walk_expression(value)
        case Select(condition=condition, then=then, otherwise=otherwise):
            for part in (condition, then, otherwise):
                yield from walk_expression(part)
