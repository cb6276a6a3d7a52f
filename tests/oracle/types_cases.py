"""Cases of dtypes, ranks and broadcastable patterns, known without computing anything."""
# One case a line, as in a table.
# ruff: noqa: E501
# fmt: off

from oracle.case import case

# --- dtypes ----------------------------------------------------------------------------------------

for floatX in ("float32", "float64"):
    for symbol in ("+", "-", "*", "/", "//", "%", "**"):
        case(
            f"dtypes of x {symbol} y, floatX={floatX}",
            f"[[attempt(lambda: (T.zeros(2, a) {symbol} T.zeros(2, b)).dtype) for b in DTYPES] for a in DTYPES]",
            floatX,
        )
    for symbol in ("& ", "<", "=="):
        function = {"& ": "x & y", "<": "x < y", "==": "T.eq(x, y)"}[symbol]
        case(
            f"dtypes of {function}, floatX={floatX}",
            f"[[attempt(lambda: (lambda x, y: {function})(T.zeros(2, a), T.zeros(2, b)).dtype) for b in DTYPES] for a in DTYPES]",
            floatX,
        )
    for function in (
        "-x", "abs(x)", "T.sgn(x)", "T.sqr(x)", "T.exp(x)", "T.log(x)", "T.sqrt(x)", "T.tanh(x)", "T.nnet.sigmoid(x)",
        "T.nnet.softplus(x)", "T.nnet.relu(x)", "T.floor(x)", "T.invert(x)", "T.isnan(x)", "T.sum(x)", "T.prod(x)",
        "T.mean(x)", "T.var(x)", "T.std(x)", "T.max(x)", "T.min(x)", "T.argmax(x)", "T.any(x)", "T.all(x)",
        "T.zeros_like(x)", "T.ones_like(x)", "x.shape", "T.dot(x, x)", "x.flatten()", "T.concatenate([x, T.zeros(2, 'int16')])",
        "T.stack([x, T.zeros(2, 'float32')])", "T.switch(T.zeros(2, 'bool'), x, T.zeros(2, 'int16'))",
        "T.switch(x, T.zeros(2, 'float32'), T.zeros(2, 'int8'))", "T.maximum(x, T.zeros(2, 'int16'))",
        "T.clip(x, 0, 1)", "T.set_subtensor(x[:1], 1)", "T.sum(x, dtype='float32')", "T.mean(x, dtype='float32')",
    ):
        case(
            f"dtypes of {function}, floatX={floatX}",
            f"[attempt(lambda: ({function}).dtype) for x in [T.zeros(2, a) for a in DTYPES]]",
            floatX,
        )
    for literal in ("1", "1000", "100000", "2**40", "1.5", "0.1", "np.float32(0.1)", "np.float64(0.1)", "np.int64(1)", "[1.0, 2.0]", "np.arange(2)"):
        for symbol in ("+", "/"):
            case(
                f"dtypes of x {symbol} {literal}, floatX={floatX}",
                f"[attempt(lambda: (x {symbol} {literal}).dtype) for x in [T.zeros(2, a) for a in DTYPES]]",
                floatX,
            )
    for literal in ("2", "-1", "2.0", "0.5"):
        case(
            f"dtypes of x ** {literal}, floatX={floatX}",
            f"[attempt(lambda: (x ** {literal}).dtype) for x in [T.zeros(2, a) for a in DTYPES]]",
            floatX,
        )
        case(
            f"dtypes of {literal} ** x, floatX={floatX}",
            f"[attempt(lambda: ({literal} ** x).dtype) for x in [T.zeros(2, a) for a in DTYPES]]",
            floatX,
        )
    case(
        f"dtypes of what makes tensors, floatX={floatX}",
        "[T.matrix().dtype, T.scalar().dtype, T.imatrix().dtype, T.lvector().dtype, T.fmatrix().dtype, T.dmatrix().dtype,"
        " T.bvector().dtype, T.wvector().dtype, T.eye(3).dtype, T.zeros((2,)).dtype, T.ones((2,)).dtype, T.arange(5).dtype,"
        " T.arange(1, 5).dtype, T.arange(0, 1, 0.1).dtype, T.arange(T.iscalar()).dtype, T.arange(T.bscalar()).dtype,"
        " T.arange(T.fscalar()).dtype, T.arange(T.dscalar()).dtype, T.arange(5, dtype='int8').dtype,"
        " T.arange(T.fvector().shape[0]).dtype, T.alloc(np.float32(0), 2).dtype, T.alloc(0, 2).dtype,"
        " theano.shared(1).dtype, theano.shared(1.5).dtype, theano.shared(np.float32(1)).dtype, theano.shared(True).dtype,"
        " T.as_tensor_variable([1.0, 2.0]).dtype, T.as_tensor_variable([1, 2]).dtype, T.constant(1).dtype,"
        " T.constant(300).dtype, T.constant(1.5).dtype, T.cast(T.dvector(), 'int8').dtype, T.cast(T.ivector(), 'floatX').dtype,"
        " T.switch(T.bvector(), 1, 0).dtype, T.mean(T.eq(T.ivector(), T.ivector())).dtype]",
        floatX,
    )
    case(
        f"dtypes of random draws, floatX={floatX}",
        "[(lambda r: [r.binomial((2,)).dtype, r.normal((2,)).dtype, r.uniform((2,)).dtype, r.uniform((2,), dtype='float32').dtype,"
        " r.binomial((2,), dtype='float32').dtype, r.random_integers((2,)).dtype, r.permutation((2,), n=3).dtype])"
        "(T.shared_randomstreams.RandomStreams(1))][0]",
        floatX,
    )

# --- types and shapes known when the line is written -----------------------------------------------

case(
    "broadcastable patterns",
    "[list(v.broadcastable) for v in [T.row(), T.col(), T.row() + T.col(), T.row() + T.matrix(), T.matrix() + T.vector(),"
    " T.matrix().sum(0, keepdims=True), T.matrix().mean(axis=1, keepdims=True), T.concatenate([T.row(), T.row()], 0),"
    " T.concatenate([T.row(), T.row()], 1), T.stack([T.vector(), T.vector()]), T.stack([T.vector()]), T.zeros((1, 3)),"
    " T.alloc(0.0, 1, T.vector().shape[0]), T.ones((1,)), T.tile(T.row(), (1, 2)), T.constant(np.ones((1, 3))),"
    " T.nnet.softmax(T.vector()), T.dot(T.row(), T.matrix()), T.dot(T.row(), T.col()), T.dot(T.row(), T.vector()),"
    " T.matrix().reshape((1, 2, 3)), T.matrix().flatten(), T.shape_padleft(T.vector()), T.shape_padright(T.vector(), 2),"
    " T.addbroadcast(T.matrix(), 0), T.unbroadcast(T.row(), 0), T.patternbroadcast(T.matrix(), (True, False)),"
    " T.row()[0], T.row()[0:1], T.row()[::-1], T.row()[:], T.vector()[None, :], T.matrix()[:, None, 0], T.row().T,"
    " T.matrix().dimshuffle(1, 'x', 0), T.row().dimshuffle(1), T.matrix().max(axis=-1, keepdims=True),"
    " T.TensorType('float32', (True, False, True))(), theano.shared(np.ones((1, 3))), T.scalar(), T.row().repeat(2, 1)]]",
)
case(
    "ranks",
    "[v.ndim for v in [T.scalar(), T.vector(), T.matrix(), T.row(), T.col(), T.tensor3(), T.tensor4(), T.dot(T.vector(), T.vector()),"
    " T.dot(T.tensor3(), T.matrix()), T.dot(T.tensor4(), T.tensor4()), T.dot(T.scalar(), T.vector()), T.outer(T.vector(), T.vector()),"
    " T.tensor4().flatten(2), T.tensor3()[:, 0], T.matrix()[T.imatrix()], T.matrix()[T.ivector(), T.ivector()],"
    " T.tensor3()[..., 0], T.tensor3().argmax(axis=1), T.vector().argmax(), T.matrix().shape, T.matrix().shape[0],"
    " T.nnet.categorical_crossentropy(T.matrix(), T.ivector()), T.nnet.categorical_crossentropy(T.matrix(), T.matrix()),"
    " T.matrix() > 0, T.matrix().norm(2), T.tensor3().mean(axis=(0, 2))]]",
)
