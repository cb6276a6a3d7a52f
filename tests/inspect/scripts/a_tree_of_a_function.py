import numpy as np

import symnet
import symnet.tensor as T

x = T.dvector("x")
w = symnet.shared(np.array([1.0, 2.0, 3.0]), name="w")
cost = T.sum((x - w) ** 2)
f = symnet.function([x], cost, updates=[(w, w - 0.1 * T.grad(cost, w))], name="step")
shown = "before a call\n" + symnet.dprint(f, file="str", print_storage=True)
f(np.zeros(3))
shown += "after it\n" + symnet.dprint(f, file="str")
