import symnet
import symnet.tensor as T
from symnet.tensor.opt import Assert

x = T.dvector("x")
checked = Assert("probabilities add up to 1")(x, T.lt(abs(x.sum() - 1), 1e-6))
f = symnet.function([x], -(checked * T.log(checked)).sum())
f([0.5, 0.5])
f([0.5, 0.75])
