import symnet
import symnet.tensor as T

x = T.dvector("x")
n = x.shape[0]
y = T.exp(x) / n
z = (y + T.exp(x)) ** 2
f = symnet.function([x], T.sum(z), name="total")
shown = f"{symnet.explain(f)}\n"
