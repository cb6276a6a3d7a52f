"""Cases of convolution, pooling, costs, their stabilised forms, and gradients."""
# One case a line, as in a table.
# ruff: noqa: E501
# fmt: off

from oracle.case import NONE, case, floats, given, integers, singles

# --- convolution -----------------------------------------------------------------------------------


for options in (
    "", ", border_mode='valid'", ", border_mode='full'", ", border_mode='half'", ", border_mode=1", ", border_mode=(1, 2)",
    ", border_mode=((1, 0), (0, 2))", ", subsample=(2, 2)", ", subsample=(1, 2), border_mode='half'", ", subsample=(2, 3), border_mode='full'",
    ", filter_dilation=(2, 2)", ", filter_dilation=(1, 2), border_mode='half'", ", filter_dilation=(2, 1), border_mode='full'", ", filter_flip=False",
    ", filter_flip=False, border_mode='half', subsample=(2, 1)", ", input_shape=(2, 2, 5, 6), filter_shape=(3, 2, 3, 2)",
    ", input_shape=(None, 2, None, None), filter_shape=(3, 2, 3, 2), border_mode='half'",
    ", image_shape=(2, 2, 5, 6)", ", subsample=(2, 2), filter_dilation=(2, 2), border_mode=2",
):
    case(f"conv2d{options}", f"T.nnet.conv2d(x, w{options})", x=floats(2, 2, 5, 6), w=floats(3, 2, 3, 2))
case("conv2d, float32", "T.nnet.conv2d(x, w)", x=singles(2, 2, 6, 6), w=singles(3, 2, 3, 3))
case("conv2d, float32, half", "T.nnet.conv2d(x, w, border_mode='half')", x=singles(1, 2, 6, 6), w=singles(3, 2, 5, 5))
case("conv2d in groups", "T.nnet.conv2d(x, w, num_groups=2)", x=floats(2, 4, 5, 5), w=floats(6, 2, 3, 3))
case("conv2d by channel", "T.nnet.conv2d(x, w, num_groups=3, border_mode='half')", x=floats(2, 3, 5, 5), w=floats(3, 1, 3, 3))
case("conv2d in groups with stride", "T.nnet.conv2d(x, w, num_groups=2, subsample=(2, 2), border_mode='full')", x=floats(1, 4, 5, 4), w=floats(2, 2, 2, 3))
case("conv2d of an even filter, half", "T.nnet.conv2d(x, w, border_mode='half')", x=floats(1, 1, 5, 5), w=floats(1, 1, 2, 2))
case("conv2d of 1 x 1", "T.nnet.conv2d(x, w)", x=floats(2, 3, 4, 4), w=floats(4, 3, 1, 1))
case("conv2d of the whole image", "T.nnet.conv2d(x, w)", x=floats(2, 3, 4, 4), w=floats(5, 3, 4, 4))
case("conv2d of a filter larger than the image", "T.nnet.conv2d(x, w)", wrt=NONE, optimised=True, code="c", x=floats(1, 1, 3, 3), w=floats(1, 1, 4, 4))
case("conv2d in the old module", "T.nnet.conv.conv2d(input=x, filters=w, filter_shape=(2, 1, 2, 2), image_shape=(1, 1, 4, 4))", x=floats(1, 1, 4, 4), w=floats(2, 1, 2, 2))
case("conv2d in the old module, full", "T.nnet.conv.conv2d(x, w, border_mode='full', subsample=(1, 1))", x=floats(1, 1, 4, 4), w=floats(2, 1, 2, 2))
case("conv2d of channels that differ", "T.nnet.conv2d(x, w)", x=floats(1, 2, 4, 4), w=floats(1, 3, 2, 2))
case("conv2d of a matrix", "T.nnet.conv2d(x, w)", x=floats(4, 4), w=floats(1, 1, 2, 2))
case("conv2d with an unknown border mode", "T.nnet.conv2d(x, w, border_mode='same')", x=floats(1, 1, 4, 4), w=floats(1, 1, 2, 2))
case("conv2d with a negative border", "T.nnet.conv2d(x, w, border_mode=-1)", x=floats(1, 1, 4, 4), w=floats(1, 1, 2, 2))
case("conv2d then bias and sigmoid", "T.nnet.sigmoid(T.nnet.conv2d(x, w) + b.dimshuffle('x', 0, 'x', 'x'))", x=floats(2, 1, 5, 5), w=floats(3, 1, 2, 2), b=floats(3))
case("gradient of conv2d by its filters, differentiated", "T.grad(T.sum(T.sqr(T.nnet.conv2d(x, w))), w)", x=floats(1, 2, 4, 4), w=floats(2, 2, 2, 2))
case("gradient of conv2d by its image, differentiated", "T.grad(T.sum(T.nnet.conv2d(x, w, subsample=(2, 2)) ** 3), x)", x=floats(1, 2, 5, 5), w=floats(2, 2, 2, 2))

# --- pooling ---------------------------------------------------------------------------------------

TIES = [[1, 1, 0, 2], [1, 0, 2, 2], [5, 4, 3, 2], [5, 5, 3, 3]]
for mode in ("max", "sum", "average_inc_pad", "average_exc_pad"):
    for options in (
        "(2, 2), ignore_border=True", "(3, 3), ignore_border=True", "(3, 3), ignore_border=False", "(2, 3), ignore_border=False",
        "(3, 2), stride=(1, 1), ignore_border=True", "(2, 2), stride=(3, 3), ignore_border=False", "(3, 3), stride=(2, 1), ignore_border=False",
        "(2, 2), pad=(1, 1), ignore_border=True", "(3, 3), stride=(2, 2), pad=(1, 2), ignore_border=True",
    ):
        case(f"pool_2d(x, {options}, mode={mode!r})", f"T.signal.pool.pool_2d(x, {options}, mode={mode!r})", x=floats(2, 2, 6, 7))
for options in ("(2, 2), ignore_border=True", "(3, 3), ignore_border=False", "(3, 3), stride=(1, 1), ignore_border=True", "(2, 2), pad=(1, 1), ignore_border=True", "(2, 2), stride=(1, 1), ignore_border=False"):
    case(f"max pooling with ties, {options}", f"T.signal.pool.pool_2d(x, {options})", code="c" if "pad" in options else "py", x=given([[TIES]]))
case("max pooling of a flat image", "T.signal.pool.pool_2d(x, (2, 2), ignore_border=True)", x=given([[[[0.0] * 4] * 4]]))
case("max pooling, float32", "T.signal.pool.pool_2d(x, (2, 2), ignore_border=True)", x=singles(2, 3, 8, 8))
case("pool_2d by ds, st and padding", "T.signal.pool.pool_2d(x, ds=(2, 2), st=(1, 1), padding=(0, 0), ignore_border=True)", x=floats(1, 1, 4, 4))
case("pool_2d by default", "T.signal.pool.pool_2d(x, (3, 3))", x=floats(1, 1, 4, 4))
case("pool_2d of a matrix", "T.signal.pool.pool_2d(x, (2, 2), ignore_border=True)", x=floats(4, 4))
case("pool_2d of a tensor3", "T.signal.pool.pool_2d(x, (2, 2), ignore_border=True)", x=floats(2, 4, 4))
case("pool_2d of integers", "T.signal.pool.pool_2d(x, (2, 2), ignore_border=True)", x=integers(1, 1, 4, 4, dtype="int32"))
case("pool_2d of a window larger than the image", "T.signal.pool.pool_2d(x, (5, 5), ignore_border=True)", wrt=NONE, x=floats(1, 1, 4, 4))
case("pool_2d of an unknown mode", "T.signal.pool.pool_2d(x, (2, 2), mode='avg', ignore_border=True)", x=floats(1, 1, 4, 4))
case("pool_2d without a window", "T.signal.pool.pool_2d(x)", x=floats(1, 1, 4, 4))
case("pool_2d of a vector", "T.signal.pool.pool_2d(x, (2, 2), ignore_border=True)", x=floats(4))
case("pool_2d with pad as wide as the window", "T.signal.pool.pool_2d(x, (2, 2), pad=(2, 2), ignore_border=True)", x=floats(1, 1, 4, 4))
case("pool_2d with pad that keeps the border", "T.signal.pool.pool_2d(x, (2, 2), pad=(1, 1), ignore_border=False)", x=floats(1, 1, 4, 4))
case("conv and pool", "T.signal.pool.pool_2d(T.nnet.conv2d(x, w), (2, 2), ignore_border=True)", x=floats(2, 1, 7, 7), w=floats(3, 1, 2, 2))
case("gradient of max pooling, differentiated", "T.grad(T.sum(T.sqr(T.signal.pool.pool_2d(T.sqr(x), (2, 2), ignore_border=True))), x)", x=floats(1, 1, 4, 4))

# --- softmax and costs -----------------------------------------------------------------------------

case("softmax", "T.nnet.softmax(x)", x=floats(3, 4))
case("softmax, float32", "T.nnet.softmax(x)", x=singles(3, 10))
case("softmax of a vector is a row", "T.nnet.softmax(x)", x=floats(4))
case("softmax of large numbers", "T.nnet.softmax(x)", x=given([[1000.0, 0.0, -1000.0], [-1000.0, -1000.0, -1000.0]]))
case("softmax of a tensor3", "T.nnet.softmax(x)", x=floats(2, 3, 4))
case("softmax of integers", "T.nnet.softmax(x)", x=integers(2, 3, dtype="int32"))
case("logsoftmax", "T.nnet.logsoftmax(x)", x=floats(3, 4))
case("logsoftmax of large numbers", "T.nnet.logsoftmax(x)", x=given([[1000.0, 0.0, -1000.0]]))
case("softmax by hand", "T.exp(x) / T.exp(x).sum(axis=1, keepdims=True)", x=floats(3, 4))
case("softmax of a tensor3 by hand", "(lambda e: e / e.sum(axis=-1, keepdims=True))(T.exp(x - x.max(axis=-1, keepdims=True)))", x=floats(2, 3, 4))
case("softmax with bias", "T.nnet.softmax(T.dot(x, w) + b)", x=floats(3, 4), w=floats(4, 2), b=floats(2))
case("crossentropy of classes", "T.nnet.categorical_crossentropy(T.nnet.softmax(x), y)", x=floats(3, 4), y=given([3, 0, 2], "int32"))
case("crossentropy of classes, int64", "T.nnet.categorical_crossentropy(T.nnet.softmax(x), y).mean()", x=floats(3, 4), y=given([3, 0, 2], "int64"))
case("crossentropy of classes, float32", "T.nnet.categorical_crossentropy(T.nnet.softmax(x), y).mean()", x=singles(3, 4), y=given([3, 0, 2], "int32"))
case("crossentropy of probabilities", "T.nnet.categorical_crossentropy(p, y)", p=floats(3, 4, low=0.1, high=0.9), y=given([3, 0, 2], "int32"))
case("crossentropy of one-hot rows", "T.nnet.categorical_crossentropy(T.nnet.softmax(x), t)", wrt=["x"], x=floats(2, 3), t=given([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
case("crossentropy of soft targets", "T.nnet.categorical_crossentropy(p, t)", p=floats(2, 3, low=0.1, high=0.9), t=floats(2, 3, low=0.1, high=0.9))
case("crossentropy of a class out of range", "T.nnet.categorical_crossentropy(p, y)", p=floats(2, 3, low=0.1, high=0.9), y=given([0, 3], "int32"))
case("crossentropy of float classes", "T.nnet.categorical_crossentropy(p, y)", p=floats(2, 3, low=0.1, high=0.9), y=floats(2))
case("log-likelihood", "-T.mean(T.log(T.nnet.softmax(x))[T.arange(y.shape[0]), y])", x=floats(3, 4), y=given([3, 0, 2], "int32"))
case("log-likelihood, float32", "-T.mean(T.log(T.nnet.softmax(x))[T.arange(y.shape[0]), y])", x=singles(10, 10), y=integers(10, high=10, dtype="int32"))
case("binary crossentropy", "T.nnet.binary_crossentropy(p, t)", p=floats(3, 4, low=0.1, high=0.9), t=floats(3, 4, low=0.1, high=0.9))
case("binary crossentropy of a sigmoid", "T.nnet.binary_crossentropy(T.nnet.sigmoid(x), t).sum()", x=floats(3, 4), t=floats(3, 4, low=0.1, high=0.9))
case("binary crossentropy at 0 and 1", "T.nnet.binary_crossentropy(p, t)", wrt=NONE, p=given([0.0, 1.0, 0.0, 1.0]), t=given([0.0, 1.0, 1.0, 0.0]))
case("sigmoid_binary_crossentropy", "T.nnet.sigmoid_binary_crossentropy(x, t)", x=floats(3, 4), t=floats(3, 4, low=0.1, high=0.9))
case("quadratic cost", "T.mean(T.sum(T.sqr(T.nnet.sigmoid(x) - t), axis=1)) / 2", x=floats(3, 4), t=floats(3, 4))
case("weight decay", "0.5 * 0.1 * sum([T.sum(w ** 2) for w in [a, b]])", a=floats(3, 4), b=floats(4, 2))
case("accuracy", "T.mean(T.eq(y, T.argmax(x, axis=1)))", wrt=NONE, x=floats(5, 3), y=integers(5, high=3, dtype="int32"))
case("dropout mask", "x * T.cast(m, 'float32') / np.float32(0.5)", x=singles(3, 4), m=integers(3, 4, high=2))
case(
    "cost of a two-layer network",
    "-T.mean(T.log(T.nnet.softmax(T.dot(T.nnet.sigmoid(T.dot(x, w1) + b1), w2) + b2))[T.arange(y.shape[0]), y])",
    wrt=["w1", "b1", "w2", "b2"], x=floats(4, 5), w1=floats(5, 3), b1=floats(3), w2=floats(3, 4), b2=floats(4), y=integers(4, high=4, dtype="int32"),
)
case(
    "cost of a convolutional network",
    "-T.mean(T.log(T.nnet.softmax(T.dot(T.tanh(T.signal.pool.pool_2d(T.nnet.conv2d(x, w1), (2, 2), ignore_border=True)"
    " + b1.dimshuffle('x', 0, 'x', 'x')).flatten(2), w2) + b2))[T.arange(y.shape[0]), y])",
    wrt=["w1", "b1", "w2", "b2"], x=floats(3, 1, 7, 7), w1=floats(2, 1, 2, 2), b1=floats(2), w2=floats(18, 4), b2=floats(4), y=integers(3, high=4, dtype="int32"),
)

# --- stabilised forms ------------------------------------------------------------------------------

FAR = [-1e5, -1000.0, -800.0, -40.0, -1.0, 0.0, 1.0, 40.0, 800.0, 1000.0, 1e5]
ROWS = [[1000.0, 0.0, -1000.0], [-1000.0, 0.0, 1000.0], [0.0, 0.0, 0.0]]
for expression in (
    "T.log(T.nnet.sigmoid(x))", "T.log(1 - T.nnet.sigmoid(x))", "T.nnet.softplus(x)", "T.log1p(T.exp(x))", "T.log(1 + T.exp(x))",
    "T.nnet.sigmoid(x)", "-T.log(T.nnet.sigmoid(-x))", "T.log(1 / (1 + T.exp(-x)))", "T.tanh(x)", "T.nnet.elu(x)",
):
    case(f"far from zero: {expression}", expression, optimised=True, absolute=1e-12, x=given(FAR))
for expression in ("T.log(T.nnet.sigmoid(x))", "T.nnet.softplus(x)", "T.log(1 + T.exp(x))", "T.log(1 - T.nnet.sigmoid(x))"):
    case(f"far from zero, float32: {expression}", expression, optimised=True, absolute=1e-6, x=given(FAR, "float32"))
for expression in ("T.exp(x) - 1", "T.log(1 + x)", "T.expm1(x)", "T.log1p(x)"):
    case(f"near zero: {expression}", expression, optimised=True, absolute=0.0, x=given([1e-20, -1e-20, 1e-9, 0.0]))
for expression in (
    "T.log(T.nnet.softmax(x))", "T.nnet.logsoftmax(x)", "T.log(T.nnet.softmax(x))[T.arange(y.shape[0]), y]", "-T.mean(T.log(T.nnet.softmax(x))[T.arange(y.shape[0]), y])",
    "-T.sum(T.log(T.nnet.softmax(x))[T.arange(3), [2, 0, 1]])", "T.nnet.categorical_crossentropy(T.nnet.softmax(x), y)", "T.nnet.categorical_crossentropy(T.nnet.softmax(x), np.eye(3))",
    "T.log(T.sum(T.exp(x), axis=1))", "T.log(T.exp(x).sum(axis=1, keepdims=True))", "T.log(T.nnet.softmax(x + 1))[:, 0]",
):
    case(f"far from zero: {expression}", expression, optimised=True, absolute=1e-12, x=given(ROWS), y=given([2, 0, 1], "int32"))
case("far from zero: softmax of a vector", "T.log(T.nnet.softmax(x))", optimised=True, x=given([1000.0, 0.0, -1000.0]))
case("far from zero: log-softmax, float32", "T.log(T.nnet.softmax(x))", optimised=True, x=given(ROWS, "float32"))
case("far from zero: binary crossentropy", "T.nnet.binary_crossentropy(T.nnet.sigmoid(x), t)", wrt=["x"], optimised=True, x=given([1000.0, 0.0, -1000.0, 40.0]), t=given([0.0, 0.0, 1.0, 1.0]))
case("far from zero: gradient of log-softmax", "T.grad(T.log(T.nnet.softmax(x))[0, 2], x)", wrt=NONE, optimised=True, x=given(ROWS))
case("far from zero: erfc", "T.log(T.erfc(x))", optimised=True, wrt=NONE, x=given([-3.0, 0.0, 5.0, 26.0]))

# --- gradients -------------------------------------------------------------------------------------

for expression in (
    "T.grad(T.sum(T.tanh(x) ** 2), x)", "T.grad(T.sum(T.exp(x) * x), x)", "T.grad(T.prod(x), x)", "T.grad(T.sum(T.nnet.sigmoid(x)), x)",
    "T.grad(T.sum(T.nnet.softplus(x)), x)", "T.grad(T.max(T.sqr(x)), x)", "T.grad(T.var(x), x)", "T.grad(T.sum(x / T.sum(T.sqr(x))), x)",
    "T.grad(T.sum(T.sqrt(1 + x ** 2)), x)", "T.grad(T.sum(T.log(1 + T.exp(x))), x)", "T.grad(T.sum(x[1:] * x[:-1] ** 2), x)",
    "T.grad(T.sum(T.dot(x, x) ** 2), x)", "T.grad(T.log(T.nnet.softmax(x))[0, 1] ** 2, x)", "T.grad(T.sum(T.nnet.softmax(x) ** 2), x)",
    "T.grad(T.sum(T.sqr(x[[0, 0, 2]])), x)", "T.grad(T.sum(T.sqr(T.inc_subtensor(x[[0, 0]], x[1:3] ** 2))), x)",
    "T.grad(T.grad(T.sum(x ** 4), x)[0], x)", "T.grad(T.sum(T.grad(T.sum(T.sin(x)), x) ** 2), x)", "T.grad(T.sum(abs(x) * x ** 2), x)",
    "T.grad(T.sum(T.maximum(x, 0.3) ** 3), x)", "T.grad(T.sum(T.switch(x > 0, x ** 3, x ** 2)), x)", "T.grad(T.sum(T.clip(x, -1, 1) ** 3), x)",
    "T.grad(T.sum(T.concatenate([x, x ** 2]) ** 2), x)", "T.grad(T.sum(T.stack([x, x ** 2], axis=1) ** 2), x)", "T.grad(T.sum(T.tile(x, (2, 2)) ** 3), x)",
    "T.grad(T.mean(x) ** 3 * x.shape[0], x)", "T.grad(T.sum(T.cumsum(x) ** 2), x)", "T.grad(T.sum(x.repeat(2) ** 3), x)",
):
    case(f"twice: {expression}", expression, x=floats(4))
case("Hessian by a vector", "T.grad(T.sum(T.grad(T.sum(T.tanh(T.dot(x, w))), w) * v), w)", x=floats(3, 4), w=floats(4, 2), v=floats(4, 2))
case("gradient by a list", "T.concatenate([g.flatten() for g in T.grad(T.sum(T.dot(a, b) ** 2), [a, b])])", wrt=NONE, a=floats(2, 3), b=floats(3, 2))
case("gradient by a list is a list", "[type(T.grad(T.sum(x), [x])).__name__, type(T.grad(T.sum(x), (x,))).__name__]", x=floats(2))
case("theano.grad and T.grad", "theano.grad(T.sum(x ** 2), x) + T.grad(cost=T.sum(x ** 3), wrt=x)", x=floats(3))
case("gradient by an expression", "(lambda y: T.grad(T.sum(y ** 2), y))(T.exp(x))", x=floats(3))
case("gradient of a variable by itself", "T.grad(x, x)", x=floats())
case("gradient used twice", "T.grad(T.sum(x * x + x), x)", x=floats(3))
case("consider_constant", "T.grad(T.sum((lambda q: q * x)(x ** 2)), x)", wrt=NONE, x=floats(3))
case("consider_constant of an expression", "(lambda q: T.grad(T.sum(q * x), x, consider_constant=[q]))(x ** 2)", wrt=NONE, x=floats(3))
case("disconnected_grad", "theano.gradient.disconnected_grad(x ** 2) * x", x=floats(3))
case("zero_grad", "theano.gradient.zero_grad(x) * x", x=floats(3))
case("consider_constant as a function", "theano.gradient.consider_constant(x) * x", x=floats(3))
case("grad_clip", "theano.gradient.grad_clip(x, -0.5, 0.5) * 3", x=floats(3))
case("known_grads", "(lambda q: T.grad(None, x, known_grads={q: y}))(x ** 2)", wrt=NONE, x=floats(3), y=floats(3))
case("known_grads beside a cost", "(lambda q: T.grad(T.sum(T.exp(x)) + T.sum(q), x, known_grads={q: y}))(x ** 2)", wrt=NONE, x=floats(3), y=floats(3))
case("disconnected", "T.grad(T.sum(x), y)", x=floats(3), y=floats(3))
case("disconnected, ignored", "T.grad(T.sum(x), y, disconnected_inputs='ignore')", wrt=NONE, x=floats(3), y=floats(3))
case("disconnected, in a list", "T.grad(T.sum(x ** 2), [y, x], disconnected_inputs='ignore')[1]", wrt=NONE, x=floats(3), y=floats(3))
case("disconnected, returned as None", "T.grad(T.sum(x), [y], disconnected_inputs='ignore', return_disconnected='None')[0] is None", x=floats(3), y=floats(3))
case("disconnected, an unknown word", "T.grad(T.sum(x), y, disconnected_inputs='nonsense')", x=floats(3), y=floats(3))
case("a length is disconnected", "T.grad(x.shape[0] * 1.0, x)", x=floats(3))
case("a comparison is connected", "T.grad(T.sum(T.cast(x > 0, 'float64')), x)", wrt=NONE, x=floats(3))
case("a rounding is connected", "T.grad(T.sum(T.floor(x)), x)", wrt=NONE, x=floats(3))
case("an argmax is connected", "T.grad(T.argmax(x) * T.sum(x), x)", wrt=NONE, x=floats(3))
case("gradient of a vector", "T.grad(x ** 2, x)", x=floats(3))
case("gradient by a number", "T.grad(T.sum(x), 3)", x=floats(3))
case("gradient of a constant", "T.grad(T.constant(1.0), x)", x=floats(3))
case("gradient through a cast", "T.grad(T.sum(T.cast(x, 'float32') ** 2), x)", wrt=NONE, x=floats(3))
case("gradient by float32 of a float32 cost", "T.grad(T.sum(x * 0.5), x)", wrt=NONE, x=singles(3))
case("gradient through integers", "T.grad(T.sum(x * n), x)", wrt=NONE, x=floats(3), n=integers(3, dtype="int32"))
case("gradient with a wrong known gradient", "T.grad(None, x, known_grads={x ** 2: T.ivector()})", x=floats(3))
case("jacobian", "theano.gradient.jacobian(x ** 2 * x.sum(), x)", wrt=NONE, x=floats(3))
case("hessian", "theano.gradient.hessian(T.sum(x ** 3) * x[0], x)", wrt=NONE, x=floats(3))
case("Lop", "T.Lop(T.tanh(T.dot(x, w)), w, v)", wrt=NONE, x=floats(2, 3), w=floats(3, 2), v=floats(2, 2))
case("Rop", "T.Rop(T.tanh(T.dot(x, w)), w, v)", wrt=NONE, x=floats(2, 3), w=floats(3, 2), v=floats(3, 2))
case("verify_grad", "T.verify_grad(lambda q: T.tanh(q) ** 2, [np.array([0.3, -1.2])], rng=np.random.RandomState(1)) is None")
case("gradient of a repeated variable in dot", "T.dot(x, x.T).sum() ** 2", x=floats(2, 3))
case("gradient through many uses", "T.sum(x * T.sum(x) * T.sum(x ** 2)) + x[0]", x=floats(3))
case("gradient of an unused branch", "x * 0 + y", x=floats(3), y=floats(3))
