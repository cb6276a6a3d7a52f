"""Where symnet means something else than Theano 1.0.5, each with its reason: data alone.

A difference replaces parts of what was recorded: `dtype`, `values`, `error` (the built-in class
raised in place of Theano's), `entries` of a list by place, `replaced` entries of a nested list,
`works` (Theano refuses, symnet computes), or `missing` (a name of Theano's that symnet does not have:
the test fails once it does); `gradients` does so by input.

Two differences hold for every case and are applied by the test itself. A gradient has the dtype of
the variable that it is by, so that an update by it is accepted; Theano's is as wide as the cost. An
axis that Theano does not call broadcastable may be known to have length 1.
"""

DIFFERENCES = {}


def differs(name, why, **parts):
    """Add a difference to the table."""
    assert name not in DIFFERENCES, name
    DIFFERENCES[name] = dict(parts, why=why)


# --- a Python number never widens the dtype of a tensor ------------------------------------------

NEVER_WIDENS = "a Python number takes the dtype of the float tensor beside it"
differs("float32 times 0.1", NEVER_WIDENS, dtype="float32")
differs("float32 plus 100000", NEVER_WIDENS, dtype="float32")

for floatX in ("float32", "float64"):
    for symbol in ("+", "/"):
        for literal in ("100000", "2**40") + (("0.1",) if floatX == "float64" else ()):
            differs(
                f"dtypes of x {symbol} {literal}, floatX={floatX}",
                NEVER_WIDENS,
                entries={9: "float32"},
            )

differs(
    "gradient through a cast",
    "a gradient has the dtype of its variable",
    dtype="float64",
    computed="float32",
)

# --- Theano refuses what has a plain meaning -----------------------------------------------------

differs("adding True", "True is a number to NumPy and to Python", works=True)
differs("m[None]", "a new axis in front; Theano 1.0.5 fails on None as the only index", works=True)
differs(
    "twice: T.grad(T.prod(x), x)",
    "the gradient of a product is differentiable",
    gradients={"x": {"works": True}},
)
differs(
    "conv2d of a filter larger than the image",
    "such a filter leaves no pixels; Theano fails on the negative size",
    works=True,
)
for name in (
    "pool_2d(x, (2, 2), pad=(1, 1), ignore_border=True, mode='average_exc_pad')",
    "pool_2d(x, (3, 3), stride=(2, 2), pad=(1, 2), ignore_border=True, mode='average_exc_pad')",
):
    differs(name, "Theano has no gradient of this mode with padding", gradients={"x": {"works": True}})
differs(
    "repeat of each by its own count",
    "Theano has no gradient for counts that differ",
    gradients={"x": {"works": True}},
)
differs(
    "T.set_subtensor by a mask",
    "Theano's gradient of a masked set fails",
    gradients={"x": {"works": True}},
)

for floatX in ("float32", "float64"):
    differs(
        f"dtypes of x & y, floatX={floatX}",
        "no integer dtype holds int64 and uint64: Theano promises float64 and fails when it runs",
        replaced={"float64": "TypeError"},
    )

# --- another class of error ----------------------------------------------------------------------

differs("index by a string", "Theano recurses until the stack is full", error="TypeError")
differs("None for a vector", "Theano takes None for any input and fails later", error="TypeError")
differs("cast to nonsense", "an unknown dtype is a wrong argument, not a missing key", error="TypeError")

differs(
    "index by arrays of lengths that differ",
    "the arrays broadcast against each other as operands do, and so does the error",
    error="ValueError",
)

# --- less than Theano -----------------------------------------------------------------------------

differs(
    "slice with a variable step",
    "a step is a number when the line is written: its sign decides what the bounds mean",
    error="TypeError",
)
for name in (
    *(
        "cumsum",
        "twice: T.grad(T.sum(T.cumsum(x) ** 2), x)",
        "sort",
        "sort along an axis",
        "argsort",
    ),
    *("identity_like", "diag of a matrix", "diagonal", "tri", "tril", "one hot", "split"),
    *("jacobian", "hessian"),
):
    differs(name, "a name outside the language that symnet has", missing=True)

# --- Theano loses numbers that its own stabilised forms keep elsewhere ---------------------------

differs(
    "far from zero: -T.sum(T.log(T.nnet.softmax(x))[T.arange(3), [2, 0, 1]])",
    "picked by a constant, the gradient stays softmax minus one-hot; Theano gives NaN",
    gradients={
        "x": {
            "values": [
                *(1.121060994002885, 0.0, -1.121060994002885),
                *(-1.121060994002885, 0.0, 1.121060994002885),
                *(0.3736869980009617, -0.7473739960019234, 0.3736869980009617),
            ]
        }
    },
)
differs(
    "far from zero: T.log(T.nnet.softmax(x + 1))[:, 0]",
    "a softmax has a finite logarithm whatever is inside; Theano loses it where that is a sum",
    values=[0.0, -2000.0, -1.0986122886681098],
)
