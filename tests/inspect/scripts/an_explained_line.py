import symnet
import symnet.tensor as T

x = T.dvector("x")
p = T.nnet.sigmoid(x)
cost = -T.log(p) * 1 + 0 * T.sqr(x)
f = symnet.function([x], [cost, p + T.nnet.sigmoid(x)], name="f")
shown = f"{symnet.explain(f, 'T.nnet.sigmoid(x)')}\n\n{symnet.explain(f, 6)}\n"
