import symnet
import symnet.tensor as T

x = T.dmatrix("x")
f = symnet.function(x, x.sum())
