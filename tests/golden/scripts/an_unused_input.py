import symnet
import symnet.tensor as T

x = T.dmatrix("x")
y = T.ivector("y")
f = symnet.function([x, y], x.sum(), name="total")
