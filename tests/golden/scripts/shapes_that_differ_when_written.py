import numpy as np

import symnet
import symnet.tensor as T

images = T.tensor("float64", shape=(None, 784), name="images")
weights = symnet.shared(np.zeros((748, 30)), name="weights", shape=(748, 30))
hidden = T.tanh(T.dot(images, weights))
