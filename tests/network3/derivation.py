"""Takes the book's networks as plain arrays and hands on their outputs, costs, gradients and steps.
All is derived by hand and computed by NumPy in one dtype; nothing of symnet is used, so that
symnet's gradients and kernels can be held against it.

Where a derivative is a matter of choice, the choice is Theano's: the gradient of a maximum goes to
every entry that attains it, in max pooling and in ReLU(z) = maximum(0, z) alike.
"""

import numpy as np


def _sigmoid(z):
    return (np.tanh(z / 2) + 1) / 2


# name: (the function of z, its derivative from z and the function's value a)
ACTIVATIONS = {
    "sigmoid": (_sigmoid, lambda z, a: a * (1 - a)),
    "tanh": (np.tanh, lambda z, a: 1 - a * a),
    "ReLU": (lambda z: np.maximum(0, z), lambda z, a: (z >= 0).astype(z.dtype)),
    "linear": (lambda z: z, lambda z, a: np.ones_like(z)),
}


# --- convolution and pooling --------------------------------------------------------------------


def convolve(x, w):
    """Valid convolution of images (n, c, h, w) by filters (f, c, kh, kw), which are flipped.

    One product and one sum at a time, for all places at once: equal patches of the image then give
    equal numbers to the last bit, and ties in the pooling after it are true ties. A matrix product
    does not promise that.
    """
    filters, channels, height, width = w.shape
    out_height, out_width = x.shape[2] - height + 1, x.shape[3] - width + 1
    flipped = w[:, :, ::-1, ::-1]
    out = np.zeros((len(x), filters, out_height, out_width), x.dtype)
    for c, i, j in np.ndindex(channels, height, width):
        out += flipped[:, c, i, j, None, None] * x[:, None, c, i : i + out_height, j : j + out_width]
    return out


def convolve_gradients(x, w, g):
    """The gradients of convolve(x, w) by x and by w, given the gradient g by its value."""
    height, width = w.shape[2:]
    out_height, out_width = g.shape[2:]
    flipped = w[:, :, ::-1, ::-1]
    gx, g_flipped = np.zeros_like(x), np.empty_like(w)
    for i, j in np.ndindex(height, width):
        place = (slice(None), slice(None), slice(i, i + out_height), slice(j, j + out_width))
        gx[place] += np.tensordot(g, flipped[:, :, i, j], (1, 0)).transpose(0, 3, 1, 2)
        g_flipped[:, :, i, j] = np.tensordot(g, x[place], ((0, 2, 3), (0, 2, 3)))
    return gx, g_flipped[:, :, ::-1, ::-1]


def _windows(x, poolsize):
    """The whole windows, a view (n, c, rows, columns, ph, pw); a border that fills none is left."""
    (n, c, height, width), (ph, pw) = x.shape, poolsize
    rows, columns = height // ph, width // pw
    whole = x[:, :, : rows * ph, : columns * pw]
    return whole.reshape(n, c, rows, ph, columns, pw).transpose(0, 1, 2, 4, 3, 5)


def max_pool(x, poolsize):
    return _windows(x, poolsize).max(axis=(4, 5))


def max_pool_gradient(x, poolsize, pooled, g):
    """To every entry of a window that equals the window's maximum, the whole of g."""
    attains = _windows(x, poolsize) == pooled[..., None, None]
    gx = np.zeros_like(x)
    rows, columns = pooled.shape[2] * poolsize[0], pooled.shape[3] * poolsize[1]
    spread = np.where(attains, g[..., None, None], 0).transpose(0, 1, 2, 4, 3, 5)
    gx[:, :, :rows, :columns] = spread.reshape(*x.shape[:2], rows, columns)
    return gx


# --- layers -------------------------------------------------------------------------------------


class ConvPool:
    """activation(max_pool(convolve(x, w)) + b): the activation comes after the pooling."""

    p_dropout = 0.0

    def __init__(self, w, b, image_shape, poolsize=(2, 2), activation="sigmoid"):
        self.params = [w, b]
        self.image_shape, self.poolsize = image_shape, poolsize
        self.function, self.derivative = ACTIVATIONS[activation]

    def output(self, x):
        w, b = self.params
        self.inpt_shape = x.shape
        self.x = x.reshape(self.image_shape)
        self.convolved = convolve(self.x, w)
        self.pooled = max_pool(self.convolved, self.poolsize)
        self.z = self.pooled + b[:, None, None]
        self.a = self.function(self.z)
        return self.a

    def training_output(self, x, mask):
        assert mask is None, "a convolutional layer has no dropout"
        return self.output(x)

    def gradients(self, g):
        """The gradient by the layer's input and those by w and b, given the one by its output."""
        gz = g.reshape(self.z.shape) * self.derivative(self.z, self.a)
        g_convolved = max_pool_gradient(self.convolved, self.poolsize, self.pooled, gz)
        gx, gw = convolve_gradients(self.x, self.params[0], g_convolved)
        return gx.reshape(self.inpt_shape), [gw, gz.sum(axis=(0, 2, 3))]


class FullyConnected:
    """activation(x·w + b). In training the mask multiplies x; in testing 1 - p_dropout does x·w."""

    def __init__(self, w, b, activation="sigmoid", p_dropout=0.0):
        self.params = [w, b]
        self.p_dropout = p_dropout
        self.function, self.derivative = ACTIVATIONS[activation]

    def output(self, x):
        w, b = self.params
        kept = w.dtype.type(1 - self.p_dropout)
        return self.function(kept * (x.reshape(len(x), -1) @ w) + b)

    def training_output(self, x, mask):
        w, b = self.params
        self.inpt_shape = x.shape
        self.mask = np.ones((), w.dtype) if mask is None else mask.astype(w.dtype)
        self.x = x.reshape(len(x), -1) * self.mask
        self.z = self.x @ w + b
        self.a = self.function(self.z)
        return self.a

    def gradients(self, g):
        """The gradient by the layer's input and those by w and b, given the one by its output."""
        gz = g * self.derivative(self.z, self.a)
        gx = (gz @ self.params[0].T) * self.mask
        return gx.reshape(self.inpt_shape), [self.x.T @ gz, gz.sum(axis=0)]


class Softmax(FullyConnected):
    """The last layer: linear here, since softmax and log-likelihood are derived together below."""

    def __init__(self, w, b, p_dropout=0.0):
        super().__init__(w, b, "linear", p_dropout)


def log_softmax(z):
    shifted = z - z.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


# --- networks -----------------------------------------------------------------------------------


class Network:
    """Layers that end with a Softmax. Parameters are cast to `dtype`, in which all is computed."""

    def __init__(self, layers, dtype=np.float64):
        self.layers, self.dtype = layers, dtype
        for layer in layers:
            layer.params = [np.array(param, dtype) for param in layer.params]

    @property
    def params(self):
        return [param for layer in self.layers for param in layer.params]

    def probabilities(self, x):
        """What the network gives when it is tested: softmax of the last layer, no masks."""
        for layer in self.layers:
            x = layer.output(x)
        return np.exp(log_softmax(x))

    def cost(self, x, y, masks=None, lmbda=0.0, batches=1):
        """Mean negative log-likelihood of y, plus lmbda / (2 batches) times the sum of squared w.

        `masks` holds, for each layer, an array of zeros and ones for its input, or None.
        """
        x = np.asarray(x, self.dtype)
        for layer, mask in zip(self.layers, masks or [None] * len(self.layers), strict=True):
            x = layer.training_output(x, mask)
        self.log_p = log_softmax(x)
        squares = sum((layer.params[0] ** 2).sum() for layer in self.layers)
        return -self.log_p[np.arange(len(y)), y].mean() + self.dtype(lmbda / (2 * batches)) * squares

    def gradients(self, x, y, masks=None, lmbda=0.0, batches=1):
        """The cost and its gradients by `params`, in their order."""
        cost = self.cost(x, y, masks, lmbda, batches)
        g = np.exp(self.log_p)
        g[np.arange(len(y)), y] -= 1
        g /= len(y)
        found = []
        for layer in reversed(self.layers):
            g, (gw, gb) = layer.gradients(g)
            found = [gw + self.dtype(lmbda / batches) * layer.params[0], gb, *found]
        return cost, found

    def step(self, x, y, eta, masks=None, lmbda=0.0, batches=1):
        """One step of gradient descent in place; the cost before it."""
        cost, gradients = self.gradients(x, y, masks, lmbda, batches)
        for param, gradient in zip(self.params, gradients, strict=True):
            param -= self.dtype(eta) * gradient
        return cost


# The book's four networks, from their parameters in the order of its Network.params.


def shallow(params, mini_batch_size, dtype=np.float64):
    w1, b1, w2, b2 = params
    return Network([FullyConnected(w1, b1), Softmax(w2, b2)], dtype)


def basic_conv(params, mini_batch_size, dtype=np.float64):
    w1, b1, w2, b2, w3, b3 = params
    convolutional = ConvPool(w1, b1, (mini_batch_size, 1, 28, 28))
    return Network([convolutional, FullyConnected(w2, b2), Softmax(w3, b3)], dtype)


def _two_conv_relu(params, mini_batch_size):
    w1, b1, w2, b2 = params
    return [
        ConvPool(w1, b1, (mini_batch_size, 1, 28, 28), activation="ReLU"),
        ConvPool(w2, b2, (mini_batch_size, 20, 12, 12), activation="ReLU"),
    ]


def dbl_conv_relu(params, mini_batch_size, dtype=np.float64):
    w3, b3, w4, b4 = params[4:]
    convolutional = _two_conv_relu(params[:4], mini_batch_size)
    return Network([*convolutional, FullyConnected(w3, b3, "ReLU"), Softmax(w4, b4)], dtype)


def dropout(params, mini_batch_size, dtype=np.float64):
    w3, b3, w4, b4, w5, b5 = params[4:]
    full = [FullyConnected(w3, b3, "ReLU", 0.5), FullyConnected(w4, b4, "ReLU", 0.5)]
    convolutional = _two_conv_relu(params[:4], mini_batch_size)
    return Network([*convolutional, *full, Softmax(w5, b5, 0.5)], dtype)


NETWORKS = {
    "shallow": shallow,
    "basic_conv": basic_conv,
    "dbl_conv_relu": dbl_conv_relu,
    "dropout": dropout,
}
