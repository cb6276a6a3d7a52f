import numpy as np

import symnet
import symnet.tensor as T

x, y = T.dmatrix("x"), T.lvector("y")
w = symnet.shared(np.zeros((4, 3)), name="w")
b = symnet.shared(np.zeros(3), name="b")
p = T.nnet.softmax(T.dot(x, w) + b)
cost = -T.mean(T.log(p)[T.arange(y.shape[0]), y])
f = symnet.function([x, y], cost, updates=[(each, each - 0.5 * T.grad(cost, each)) for each in (w, b)])
shown = symnet.pp(f) + "\n"
