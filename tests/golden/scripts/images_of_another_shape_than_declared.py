import numpy as np

import symnet
import symnet.tensor as T

images, filters = T.dtensor4s("images", "filters")
maps = T.nnet.conv2d(images, filters, input_shape=(10, 1, 28, 28))
f = symnet.function([images, filters], maps.sum())
f(np.ones((5, 1, 28, 28)), np.ones((2, 1, 5, 5)))
