import symnet
import symnet.tensor as T

x = T.dvector("x")
gradient = symnet.grad(x**2, x)
