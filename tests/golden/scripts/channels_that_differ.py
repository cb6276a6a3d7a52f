import numpy as np

import symnet
import symnet.tensor as T

images = T.TensorType("float32", (10, 3, 28, 28))("images")
filters = symnet.shared(np.zeros((20, 1, 5, 5), "float32"), name="filters", shape=(20, 1, 5, 5))
maps = T.nnet.conv2d(images, filters)
