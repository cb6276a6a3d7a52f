"""The table of Theano's modules: takes nothing, hands on, module by module, where each name is defined.

A string with a colon is "module:attribute" ("module:" the module); anything else is the value itself.
Everything below `theano.tensor` stands in `symnet.tensor` and not here.
"""

from __future__ import annotations

from typing import Any

_GRAPH = {
    "Apply": "symnet.graph.variable:Apply",
    "Constant": "symnet.graph.variable:Constant",
    "Variable": "symnet.graph.variable:Variable",
}
_FUNCTION = {
    "Function": "symnet.compile.function:Function",
    "In": "symnet.compile.function:In",
    "Out": "symnet.compile.function:Out",
    "SymbolicInput": "symnet.compile.function:In",
    "SymbolicOutput": "symnet.compile.function:Out",
    "function": "symnet.compile.function:function",
}
_MODE = {
    "Mode": "symnet.compile.mode:Mode",
    "get_default_mode": "symnet.compile.mode:get_default_mode",
    "get_mode": "symnet.compile.mode:resolve_mode",
}
_SHARED = {
    "SharedVariable": "symnet.compile.shared:SharedVariable",
    "shared": "symnet.compile.shared:shared",
}
_PRINTING = {
    "debugprint": "symnet.inspect.tree:dprint",
    "pp": "symnet.inspect.mathematics:pp",
    "pprint": "symnet.inspect.mathematics:pp",
}
_CONFIG = {"config": "symnet.theano.flags:config"}
_VERSION = "1.0.5+symnet"

#: Names by module, "" being `theano` itself. A module in the table exists even where it is empty.
NAMES: dict[str, dict[str, Any]] = {
    "": {
        **_GRAPH,
        **_FUNCTION,
        **_MODE,
        **_CONFIG,
        "__version__": _VERSION,
        "Lop": "symnet.gradient:Lop",
        "OrderedUpdates": "collections:OrderedDict",
        "Rop": "symnet.gradient:Rop",
        "_asarray": "numpy:asarray",
        "change_flags": "symnet.theano.flags:change_flags",
        "dot": "symnet.tensor:dot",
        "grad": "symnet.gradient:grad",
        "pp": _PRINTING["pp"],
        "pprint": _PRINTING["pprint"],
        "shared": "symnet.compile.shared:shared",
    },
    "compat": {
        "OrderedDict": "collections:OrderedDict",
        "PY3": True,
        "imap": "builtins:map",
        "izip": "builtins:zip",
        "next": "builtins:next",
    },
    "compat.python2x": {"OrderedDict": "collections:OrderedDict"},
    "compat.six": {
        "PY3": True,
        "integer_types": (int,),
        "next": "builtins:next",
        "string_types": (str,),
        "text_type": str,
    },
    "compat.six.moves": {
        "cPickle": "pickle:",
        "input": "builtins:input",
        "map": "builtins:map",
        "range": "builtins:range",
        "reduce": "functools:reduce",
        "xrange": "builtins:range",
        "zip": "builtins:zip",
    },
    "compile": {
        **_FUNCTION,
        **_MODE,
        **_SHARED,
        "UnusedInputError": "symnet.errors:UnusedInputError",
    },
    "compile.function": {"function": "symnet.compile.function:function"},
    "compile.function_module": {
        "Function": "symnet.compile.function:Function",
        "UnusedInputError": "symnet.errors:UnusedInputError",
    },
    "compile.io": {name: _FUNCTION[name] for name in ("In", "Out", "SymbolicInput", "SymbolicOutput")},
    "compile.mode": _MODE,
    "compile.nanguardmode": {"NanGuardMode": "symnet.compile.mode:NanGuardMode"},
    "compile.sharedvalue": _SHARED,
    "configdefaults": _CONFIG,
    "configparser": {**_CONFIG, "change_flags": "symnet.theano.flags:change_flags"},
    "gof": {
        **_GRAPH,
        "FunctionGraph": "symnet.graph.function_graph:FunctionGraph",
        "MissingInputError": "symnet.errors:MissingInputError",
    },
    "gof.fg": {
        "FunctionGraph": "symnet.graph.function_graph:FunctionGraph",
        "MissingInputError": "symnet.errors:MissingInputError",
    },
    "gof.graph": {
        **_GRAPH,
        "ancestors": "symnet.graph.traversal:ancestors",
        "inputs": "symnet.graph.traversal:roots",
    },
    "gpuarray": {"pygpu_activated": False, "use": "symnet.theano.flags:use"},
    "gradient": {
        "DisconnectedInputError": "symnet.errors:DisconnectedInputError",
        "GradientError": "symnet.errors:VerifyGradError",
        "Lop": "symnet.gradient:Lop",
        "NullTypeGradError": "symnet.errors:NullTypeGradError",
        "Rop": "symnet.gradient:Rop",
        "consider_constant": "symnet.gradient:consider_constant",
        "disconnected_grad": "symnet.gradient:disconnected_grad",
        "grad": "symnet.gradient:grad",
        "grad_clip": "symnet.ops.gradient_filters:grad_clip",
        "grad_scale": "symnet.ops.gradient_filters:grad_scale",
        "verify_grad": "symnet.compile.verify_grad:verify_grad",
        "zero_grad": "symnet.gradient:zero_grad",
    },
    "ifelse": {},
    "misc": {},
    "misc.safe_asarray": {"_asarray": "numpy:asarray"},
    "printing": {
        **_PRINTING,
        "Print": "symnet.ops.effects:Print",
        "pydotprint": "symnet.inspect.dot:pydotprint",
    },
    "sandbox": {},
    "sandbox.cuda": {
        "cuda_available": False,
        "cuda_enabled": False,
        "use": "symnet.theano.flags:use",
    },
    "sandbox.cuda.dnn": {"dnn_available": "symnet.theano.flags:dnn_available"},
    "sandbox.gpuarray": {"pygpu_activated": False},
    "sandbox.rng_mrg": {"MRG_RandomStreams": "symnet.compile.random_streams:MRG_RandomStreams"},
    "scalar": {"upcast": "symnet.ops.basic:upcast"},
    "scan_module": {},
    "updates": {"OrderedUpdates": "collections:OrderedDict"},
    "version": {"full_version": _VERSION, "short_version": _VERSION, "version": _VERSION},
}
