import symnet
import symnet.tensor as T

x, y = T.dscalars("x", "y")
f = symnet.function([x, y], x + y, name="add")
f(1.0)
