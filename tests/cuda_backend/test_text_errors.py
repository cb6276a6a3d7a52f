"""Takes texts that are no kernels, holds what they are told: the kernel, what is wrong, the line."""

from __future__ import annotations

import itertools

import pytest

from symnet.backend.cuda import nvvm, scalar_code
from symnet.backend.cuda.text_code import module_of
from symnet.backend.cuda.text_values import TYPES
from symnet.errors import CompileError

MAY = "b may have no value"
#: Each in a kernel of `a` (int64), `x` (float32), `u` (uint64), `bit` (uint8), where `t` is four numbers.
REFUSED = {
    # Names.
    "c = a[0] > 0\nif c:\n    b = 1\nfor j in range(2):\n    if c:\n        a[1] = b\n    c = True": MAY,
    "a[0] = b": "b has no value",
    "b += 1": "b has no value",
    "a[b] = 1": "b has no value",
    "if a[0] > 0:\n    b = 1\na[1] = b": MAY,
    "if a[0] > 0:\n    pass\nelse:\n    b = 1\na[1] = b": MAY,
    "for j in range(3):\n    b = j\na[1] = b": MAY,
    "for j in range(3):\n    pass\na[1] = j": "j may have no value",
    "while a[0] > 0:\n    b = 1\na[1] = b": MAY,
    "more = a[0] > 0\nif more:\n    b = 1\nmore = a[1] > 0\nif more:\n    a[1] = b": MAY,
    "more = a[0] > 0\nif more:\n    b = 1\n    more = a[1] > 0\nif more:\n    a[1] = b": MAY,
    "more = a[0] > 0\nif more:\n    b = 1\nif a[0] > 0:\n    a[1] = b": MAY,
    "more = a[0] > 0\nif a[1] > 0:\n    if more:\n        b = 1\nif more:\n    a[1] = b": MAY,
    "c = True\nfor j in range(2):\n    if c:\n        b = 1\n    c = not c\nif c:\n    a[1] = b": MAY,
    "more = a[0] > 0\nif more:\n    pass\nelse:\n    b = 1\nif more:\n    a[1] = b": MAY,
    "if a[0] > 0:\n    s = cuda.shared.array(4, np.int64)\ns[0] = 1": "s may have no value",
    "b = 1\nb = 1.0": "b was int64 and is float64 now",
    "b = np.int32(1)\nb += 1": "b was int32 and is int64 now",
    "b = (1, 2)\nb = (1, 2, 3)": "b was 2 numbers of int64 and is 3 numbers of int64 now",
    "b = (1, 2)\nb = (1, 2.0)": "b was 2 numbers of int64 and is 2 numbers of int64 and float64 now",
    "b = (1, 2)\nb = 1": "b was 2 numbers of int64 and is int64 now",
    "a = 1": "a was memory of int64 and is int64 now",
    "b = 1\nb = a": "b has a value already",
    "a = x": "a has a value already",
    "for a in range(3):\n    pass": "a was memory of int64 and is int64 now",
    "math = 1": "math has a meaning of its own",
    "cuda, b = 1, 2": "cuda has a meaning of its own",
    "for range in range(3):\n    pass": "range has a meaning of its own",
    "load4 = a": "load4 has a meaning of its own",
    # Statements.
    "try:\n    pass\nfinally:\n    pass": "that is no statement of a kernel",
    "for j in range(3):\n    pass\nelse:\n    pass": "that is no statement of a kernel",
    "while a[0] > 0:\n    pass\nelse:\n    pass": "that is no statement of a kernel",
    "while True:\n    break": "that is no statement of a kernel",
    "for j in a:\n    pass": "that is no statement of a kernel",
    "for j, k in range(3):\n    pass": "that is no statement of a kernel",
    "return 1": "that is no statement of a kernel",
    "b: np.int64 = 1": "that is no statement of a kernel",
    "'words'": "that is no statement of a kernel",
    "a[0] + 1": "that is no statement of a kernel",
    "def inner():\n    pass": "that is no statement of a kernel",
    "assert a[0] > 0": "that is no statement of a kernel",
    "del a": "that is no statement of a kernel",
    "import math": "that is no statement of a kernel",
    "a.b = 1": "nothing can be assigned to that",
    "[b, c] = (1, 2)": "nothing can be assigned to that",
    "*b, c = (1, 2)": "nothing can be assigned to that",
    "b, c = (1, 2, 3)": "3 numbers of int64 for 2 names",
    "b, c = a": "memory of int64 for 2 names",
    "b, = a[0]": "int64 for 1 names",
    "b, (c, d) = (1, 2)": "int64 for 2 names",
    "for j in range():\n    pass": "a range takes one to three integers",
    "for j in range(1, 2, 3, 4):\n    pass": "a range takes one to three integers",
    "for j in range(2.0):\n    pass": "a range takes one to three integers",
    "for j in range(stop=2):\n    pass": "a range takes one to three integers",
    "for j in range(0, 9, a[0]):\n    pass": "the step of a range is a number that is not 0",
    "for j in range(0, 9, 0):\n    pass": "the step of a range is a number that is not 0",
    "for j in range(u[0]):\n    pass": "a range is of int32 or int64, not of uint64",
    "for j in range(bit[0]):\n    pass": "a range is of int32 or int64, not of uint8",
    "for j in range(t):\n    pass": "a number is wanted, not 4 numbers of int64",
    # Expressions.
    "b = [1, 2]": "that is no expression of a kernel",
    "b = 'words'": "that is no expression of a kernel",
    "b = None": "that is no expression of a kernel",
    "b = 1j": "that is no expression of a kernel",
    "b = lambda: 1": "that is no expression of a kernel",
    "b = (c := 1)": "that is no expression of a kernel",
    "b = 0 < a[0] < 3": "that is no expression of a kernel",
    "b = math.pi": "that is no expression of a kernel",
    "b = np.float32": "that is no expression of a kernel",
    "b = cuda.threadIdx.y": "that is no expression of a kernel",
    "b = a[0:2]": "that is no expression of a kernel",
    "b = cuda.blockDim.x": "a kernel has no blockDim",
    "b = 18446744073709551616": "no integer has more than 64 bits",
    "b = -9223372036854775809": "no integer has more than 64 bits",
    "b = (1, a)": "a number is wanted, not memory of int64",
    "b = (1, (2, 3))": "a number is wanted, not 2 numbers of int64",
    "b = -a": "a number is wanted, not memory of int64",
    "b = a + 1": "an operator takes two numbers",
    "b = t + 1": "an operator takes two numbers",
    "b = t * t": "an operator takes two numbers",
    "b = a[0] + x[0]": "no such operator of int64 and float32",
    "b = x[0] * 2": "no such operator of float32 and int64",
    "b = a[0] / a[1]": "no such operator of int64 and int64",
    "b = x[0] // x[1]": "no such operator of float32 and float32",
    "b = a[0] ** 2": "no such operator of int64 and int64",
    "b = a[0] @ 2": "no such operator of int64 and int64",
    "b = True + True": "no such operator of bool and bool",
    "b = True & 1": "no such operator of bool and int64",
    "b = a[0] << 64": "no shift by 64",
    "b = a[0] >> -1": "no shift by -1",
    "b = +a[0]": "no such operator of int64",
    "b = not a[0]": "no such operator of int64",
    "b = ~x[0]": "no such operator of float32",
    "b = -(a[0] > 1)": "no such operator of bool",
    "b = a[0] is a[1]": "that is no comparison of numbers",
    "b = u[0] < a[0]": "uint64 meets what may be negative",
    "b = u[0] == -1": "uint64 meets what may be negative",
    "b = 9223372036854775808 > a[0]": "uint64 meets what may be negative",
    "b = min(u[0], a[0])": "uint64 meets what may be negative",
    "b = a[0] if a[0] > 1 else u[0]": "uint64 meets what may be negative",
    "b = x[0] < a[0]": "no comparison of float32 and int64",
    "b = x[0] < 16777217": "16777217 may be no float32",
    "b = -9007199254740993 < 1.5": "-9007199254740993 may be no float64",
    "b = (a[0] > 1) == 1": "no comparison of bool and int64",
    "if a[0]:\n    pass": "a condition is wanted, not int64",
    "while 1:\n    pass": "a condition is wanted, not int64",
    "b = a[0] > 1 and a[0]": "a condition is wanted, not int64",
    "b = 1 if x[0] else 2": "a condition is wanted, not float32",
    "b = 1 if a[0] > 1 else 2.0": "no dtype for both float64 and int64",
    "b = a if a[0] > 1 else x": "a number is wanted, not memory of int64",
    # Memory.
    "a[1.0] = 1": "an index is wanted, not float64",
    "a[a[0] > 1] = 1": "an index is wanted, not bool",
    "a[t] = 1": "a number is wanted, not 4 numbers of int64",
    "a[0] = 1.0": "float64 is no entry of int64",
    "x[0] = 1": "int64 is no entry of float32",
    "x[0] = True": "bool is no entry of float32",
    "a[0] = t": "an entry is one number",
    "a[0] = x": "an entry is one number",
    "t[0] = 1": "no entries to write or read in 4 numbers of int64",
    "b = a[0][1]": "no entries to write or read in int64",
    "a[0] = t[4]": "a number below 4 that stands there is wanted",
    "a[0] = t[-1]": "a number below 4 that stands there is wanted",
    "a[0] = t[a[0]]": "a number below 4 that stands there is wanted",
    "b = t[a[0]:]": "a number below 4 that stands there is wanted",
    "b = t[::2]": "a number below 4 that stands there is wanted",
    "b = t[1.5:]": "a number below 4 that stands there is wanted",
    "b = cuda.shared.array(4)": "a shared array takes a number, a dtype and an alignment",
    "b = cuda.shared.array(a[0], np.int32)": "a shared array takes a number, a dtype and an alignment",
    "b = cuda.shared.array(0, np.int32)": "a shared array takes a number, a dtype and an alignment",
    "b = cuda.shared.array(4, np.bool_)": "a shared array takes a number, a dtype and an alignment",
    "b = cuda.shared.array(4, np.int32, a[0])": "an array of int32 is aligned to 4, 8, … bytes",
    "b = cuda.shared.array(4, np.int32, 12)": "an array of int32 is aligned to 4, 8, … bytes",
    "b = cuda.shared.array(4, np.int32, 4, 4)": "an array of int32 is aligned to 4, 8, … bytes",
    # Calls.
    "print(a[0])": "a kernel has no print",
    "b = sum(t)": "a kernel has no sum",
    "b = math.nothing(1.0)": "a kernel has no math.nothing",
    "b = np.exp(1.0)": "a kernel has no np.exp",
    "b = np.bool(1)": "a kernel has no np.bool",
    "b = a[0].item()": "a kernel has no a[0].item",
    "cuda.syncwarp()": "a kernel has no cuda.syncwarp",
    "cuda.syncthreads(1)": "a kernel has no cuda.syncthreads",
    "b = cuda.syncthreads()": "that gives no value",
    "b = store2(a, 0, 1, 2)": "that gives no value",
    "b = np.int32(value=1)": "no function takes keywords",
    "b = np.int32()": "np.int32 takes one number",
    "b = np.int32(1, 2)": "np.int32 takes one number",
    "b = np.int32(a)": "a number is wanted, not memory of int64",
    "b = math.exp()": "no math.exp of nothing",
    "b = math.exp(1.0, 2.0)": "no math.exp of float64, float64",
    "b = math.exp(a[0])": "no math.exp of int64",
    "b = math.exp(True)": "no math.exp of bool",
    "b = math.pow(x[0], 2.0)": "no math.pow of float32, float64",
    "b = math.isnan(a[0])": "no math.isnan of int64",
    "b = math.abs(u[0])": "no math.abs of uint64",
    "b = math.sign(True)": "no math.sign of bool",
    "b = math.floordiv(x[0], x[0])": "no math.floordiv of float32, float32",
    "b = math.shift_left(a[0], np.int32(1))": "no math.shift_left of int64, int32",
    "b = math.where(a[0], x[0], x[1])": "no math.where of int64, float32, float32",
    "b = math.bits_of(a[0])": "no math.bits_of of int64",
    "b = math.from_bits(x[0])": "no math.from_bits of float32",
    "b = math.mul_wide(a[0], a[1])": "no math.mul_wide of int64, int64",
    "b = min(1)": "min is of integers",
    "b = max(x[0], x[1])": "max is of integers",
    "b = abs(x[0])": "abs is of integers",
    "b = abs(1, 2)": "abs is of integers",
    "b = load2(a)": "no load2 of memory of int64",
    "b = load4(a, 1.0)": "an index is wanted, not float64",
    "b = load4(1, 1)": "no load4 of int64, int64",
    "store2(a, 0, 1)": "no store2 of memory of int64, int64, int64",
    "store2(a, 0, 1, 2, 3)": "no store2 of memory of int64, int64, int64, int64, int64",
    "store4(a, 0, 1, 2, 3, 4.0)": "float64 is no entry of int64",
    "store2(x, 0, t, t)": "an entry is one number",
    "b = shared_load2(a, 0)": "no shared_load2 of memory of int64, int64",
    "shared_store(a, 0, 0, x[0])": "float32 is no entry of int64",
    "b = lane_swap(x[0], 1.0)": "no lane_swap of float32, float64",
    "b = lane_swap(t, 1)": "no lane_swap of 4 numbers of int64, int64",
    "b = lane_swap()": "no lane_swap of nothing",
    "b = multiply_add(t, (1, 2), (3, 4))":
        "no multiply_add of 4 numbers of int64, 2 numbers of int64, 2 numbers of int64",
    "b = multiply_add((1.0,), (1.0,), (x[0],))":
        "no multiply_add of 1 numbers of float64, 1 numbers of float64, 1 numbers of float32",
    "b = multiply_add((1.0,), (1.0, 2.0), (1.0,))":
        "no multiply_add of 1 numbers of float64, 2 numbers of float64, 1 numbers of float64",
    "b = multiply_add((), (), ())": "no multiply_add of 0 numbers, 0 numbers, 0 numbers",
    "b = quotient(x[0], 2)": "no quotient of float32, int64",
    "b = quotient(a[0], 2.0)": "no quotient of int64, float64",
}  # fmt: skip
SIGNATURE = ("int64", "float32", "uint64", "bool")


@pytest.mark.parametrize("lines", REFUSED)
def test_what_is_wrong_is_told_with_its_line(lines):
    body = ["t = load4(a, 0)", *lines.splitlines()]
    source = "\n".join(["def kernel(a, x, u, bit):", *(f"    {line}" for line in body)])
    said = asked(source)
    before = f"kernel kernel can't be compiled: {REFUSED[lines]} in line "
    assert said.startswith(before), said
    number, quoted = said.removeprefix(before).split(": ", 1)
    assert int(number) > 2 and quoted == source.splitlines()[int(number) - 1].strip()


def asked(source: str, signature: tuple[str, ...] = SIGNATURE) -> str:
    with pytest.raises(CompileError) as caught:
        module_of(source, "kernel", signature, (9, 0))
    return caught.value.asked


PLAIN = "it is not one definition of kernel with plain parameters in line"
TEXTS = {
    "def kernel(a, x, u, bit):\n    b = (1": "it is no Python ('(' was never closed) in line 2: b = (1",
    "def kernel(a, x, u, bit):\n  b = 1\n    c = 2\n": "it is no Python (unexpected indent) in line 3: c = 2",
    "def kernel(a, a, u, bit):\n    return": "a has a value already in line 1: def kernel(a, a, u, bit):",
    "": f"{PLAIN} 1: ",
    "b = 1": f"{PLAIN} 1: b = 1",
    "def other(a, x, u, bit):\n    pass": f"{PLAIN} 1: def other",
    "def kernel(a, x, u, bit):\n    pass\nb = 1": f"{PLAIN} 3",
    "@cuda.jit\ndef kernel(a, x, u, bit):\n    pass": f"{PLAIN} 2",
    "def kernel(a, x, u, bit=1):\n    pass": f"{PLAIN} 1",
    "def kernel(a, x, u, *bit):\n    pass": f"{PLAIN} 1",
    "def kernel(a, x, u, bit, *, b):\n    pass": f"{PLAIN} 1",
    "def kernel(a, x, u):\n    pass": "it has 3 parameters for 4 arrays in line 1: def kernel(a, x, u):",
    "def kernel(a, x, u, math):\n    pass": "math has a meaning of its own in line 1: def kernel(",
    # Ends of lines are those that Python counts.
    "def kernel(a, x, u, bit):\n    # \x0c \u2028\r\n    a[0] = b": "b has no value in line 3: a[0] = b",
}


@pytest.mark.parametrize("source", TEXTS)
def test_what_is_no_kernel_is_told(source):
    assert asked(source).startswith(f"kernel kernel can't be compiled: {TEXTS[source]}")


def test_what_is_deeper_than_python_goes_is_told():
    head = "def kernel(a, x, u, bit):\n    a[1] = 0\n    a[0] = "
    deep = "its parts are in each other too many times in line 3: a[0] = "
    assert deep in asked(head + "~" * 1500 + "1")
    assert deep in asked(head + "1 if True else " * 1500 + "1")
    whole = "the parts of its text are in each other too many times"
    assert asked(head + "~" * 100_000 + "1").endswith(whole)
    assert asked(head + " + ".join(["a[0]"] * 100_000)).endswith(whole)


def test_of_long_lines_the_beginning_is_told():
    said = asked(f"def kernel(a, x, u, bit):\n    a[0] = {'a[0] + ' * 1000}b")
    first = ("a[0] = " + "a[0] + " * 1000)[:200]
    assert said == f"kernel kernel can't be compiled: b has no value in line 2: {first} …"


def test_memory_is_of_numbers():
    source = "def kernel(a):\n    pass"
    assert asked(source, ("float16",)) == "kernel kernel can't be compiled: it has no entries of float16"


def test_what_libnvvm_refuses_is_told():
    source = "def kernel(a):\n    a[0] = 1"
    with pytest.raises(CompileError, match=r"kernel kernel can't be compiled: .*\n.*-arch=compute_10"):
        nvvm.compile(source, "kernel", ["int64"], (1, 0))


def test_what_is_taken_compiles_and_all_else_is_told():
    """Every operator and function of every dtype and two: libNVVM knows the types of what is read."""
    dtypes = {f"{name}_": name for name in TYPES}
    pairs = [*itertools.product(dtypes, repeat=2)]
    texts = [f"{a} {sign} {b}" for a, b in pairs for sign in "+ - * / // % & | ^ << >> ** < == !=".split()]
    texts += [
        f"{form.format(a, b)}" for a, b in pairs for form in ("min({}, {})", "{} if True else {}", "abs({})")
    ]
    texts += [f"{form.format(a, b)}" for a, b in pairs for form in ("quotient({}, {})", "lane_swap({}, {})")]
    texts += [f"multiply_add(({a},), ({a},), ({b},))" for a, b in pairs]
    texts += [f"np.{name}({a})" for name in ("bool_", *list(TYPES)[1:]) for a in dtypes]
    texts += [f"{sign}{a}" for sign in ("-", "~", "not ", "+") for a in dtypes]
    for name, (arity, _) in scalar_code.FUNCTIONS.items():
        texts += [f"math.{name}({', '.join([a] * count)})" for a in dtypes for count in {arity, arity - 1, 3}]
        texts += [f"math.{name}({a}, {b})" for a, b in pairs[:: 7 if arity == 2 else 60]]
    head = f"def kernel({', '.join(f'a_{name}' for name in TYPES)}):"
    loads = [f"{local} = a_{name}[0]{' != 0' if name == 'bool' else ''}" for local, name in dtypes.items()]
    taken, refused = [], 0
    for number, text in enumerate(texts):
        line = f"v{number} = {text}"
        needed = [load for load in loads if load.split()[0] in text]
        try:
            module_of("\n    ".join([head, *needed, line]), "kernel", list(TYPES), (9, 0))
            taken.append(line)
        except CompileError as error:
            assert error.asked.endswith(f" in line {len(needed) + 2}: {line}")
            refused += 1
    assert ".entry kernel(" in nvvm.compile(
        "\n    ".join([head, *loads, *taken]), "kernel", list(TYPES), (9, 0)
    )
    assert len(taken) > 1400 and refused > 2000
