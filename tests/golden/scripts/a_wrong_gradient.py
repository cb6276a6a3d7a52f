import numpy as np

import symnet


def cost(x):
    return x**2 * symnet.disconnected_grad(x)


symnet.verify_grad(cost, [np.array([1.0, -2.0])])
