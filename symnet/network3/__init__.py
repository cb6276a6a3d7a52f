"""Michael Nielsen's network3.py on symnet: takes the programs of his book's chapter 6 as they are
typed and hands on trained networks. Only the import changes: `from symnet import network3`.
"""

from symnet.network3.data import load_data, load_data_shared
from symnet.network3.errors import DataError, DivergedError, NetworkError
from symnet.network3.layers import (
    ConvPoolLayer,
    FullyConnectedLayer,
    ReLU,
    SoftmaxLayer,
    dropout_layer,
    linear,
    sigmoid,
    size,
    tanh,
)
from symnet.network3.network import Network
from symnet.network3.store import load_parameters, save_parameters

__all__ = [
    "ConvPoolLayer",
    "DataError",
    "DivergedError",
    "FullyConnectedLayer",
    "Network",
    "NetworkError",
    "ReLU",
    "SoftmaxLayer",
    "dropout_layer",
    "linear",
    "load_data",
    "load_data_shared",
    "load_parameters",
    "save_parameters",
    "sigmoid",
    "size",
    "tanh",
]
