import symnet
import symnet.tensor as T

x = T.dvector("x")
step = symnet.function([x], updates=[(x, x + 1)])
