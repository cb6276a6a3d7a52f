import numpy as np

import symnet
import symnet.tensor as T

scores = T.dmatrix("scores")
y = T.lvector("y")
picked = T.log(scores)[T.arange(y.shape[0]), y]
f = symnet.function([scores, y], -picked.mean())
f(np.ones((4, 10)), np.array([3, 9, 10, 0]))
