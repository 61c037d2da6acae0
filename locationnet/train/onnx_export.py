"""mxnet's exporter to ONNX, given what it does not know, and made to report what it cannot do.

Knows how attributes are written and how the exporter is called; what becomes of single
operators is decided by it and by `locationnet.train.onnx_operators`.
"""

from __future__ import annotations

import re
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from typing import Any

from locationnet.errors import LocationNetError
from locationnet.train.backbones import infer_shapes
from locationnet.train.compat import mx, onnx_exporter
from locationnet.train.onnx_file import OPSET
from locationnet.train.onnx_operators import TRANSLATIONS, Made, Shape, Translation
from locationnet.train.symbols import original_name

# The newest that mxnet's exporter knows.
# Operators of old files and of several GPUs that compute what another one does.
_SAME_AS = {
    "BatchNorm_v1": "BatchNorm",
    "Convolution_v1": "Convolution",
    "Pooling_v1": "Pooling",
    "CuDNNBatchNorm": "BatchNorm",
    "_contrib_SyncBatchNorm": "BatchNorm",
}


def to_graph(network: mx.sym.Symbol, parameters: dict[str, mx.nd.NDArray], image_size: int) -> Any:
    """Translate a network operator by operator.

    Parameters
    ----------
    network
        Input ``data`` (n, 3, image_size, image_size).
    parameters
        Float32 by name, the moving statistics among them; exactly those of the network.
    image_size
        Pixels.

    Returns
    -------
    GraphProto
        Parameters are inputs beside ``data``; what they hold is not in it.

    Raises
    ------
    MissingExtraError
        onnx is not installed.
    LocationNetError
        An operator cannot become ONNX; the message names it and says why.
    """
    # Of two batches: what differs is the number of photos.
    shapes = [_shapes(network, image_size, photos) for photos in (2, 3)]
    # Some of its functions print.
    with onnx_exporter() as exporter, redirect_stdout(StringIO()):
        import onnx

        theirs = exporter.convert_layer

        def convert(node: dict[str, Any], **given: Any) -> Any:
            operator = node["op"]
            attributes = spelled_out(operator, node.get("attrs", {}))
            node = {**node, "op": _SAME_AS.get(operator, operator), "attrs": attributes}
            try:
                if not node["inputs"] and operator != "null":
                    return _constant(network, node["name"])
                own = TRANSLATIONS.get(node["op"])
                made = own(Translation(node, given, shapes)) if own else None
                if made is None:
                    return theirs(node, **given)
                return made if isinstance(made, tuple) else (made, None)
            except Exception as error:  # it raises whatever comes: KeyError, AssertionError, ...
                reason = " ".join(str(error).split()) or type(error).__name__
                raise LocationNetError(
                    f"{original_name(node['name'])} ({operator}) cannot become ONNX: {reason}"
                ) from error

        # Its own check of the result would be that of the newest opset.
        rules = onnx.checker.DEFAULT_CONTEXT
        newest, rules.opset_imports = rules.opset_imports, {"": OPSET}
        exporter.convert_layer = staticmethod(convert)
        try:
            return exporter().create_onnx_graph_proto(
                network,
                parameters,
                [(1, 3, image_size, image_size)],
                [onnx.TensorProto.FLOAT],
                opset_version=OPSET,
                dynamic=True,
                dynamic_input_shapes=[(None, 3, image_size, image_size)],
            )
        finally:
            exporter.convert_layer = staticmethod(theirs)
            rules.opset_imports = newest


def spelled_out(operator: str, attributes: dict[str, str]) -> dict[str, str]:
    """Return an operator's attributes as mxnet's exporter expects them.

    MXNet reads ``True``, ``true`` and ``1`` alike, and knows a default for what is absent; the
    exporter compares with ``True`` and has defaults of its own.
    """
    found = {name: text for name, text in attributes.items() if text != "None"}
    for name, (kind, default) in _declared(operator).items():
        if name not in found and default is not None:
            found[name] = default
        if kind.startswith("boolean") and name in found:
            found[name] = "True" if found[name].lower() in ("true", "1") else "False"
    return found


@cache
def _declared(operator: str) -> dict[str, tuple[str, str | None]]:
    """Return type and default of each attribute as MXNet declares them."""
    if operator == "null":
        return {}
    declared = mx.operator.get_operator_arguments(operator)
    found = {}
    for name, kind in zip(declared.names, declared.types, strict=True):
        match = re.search(r"default=(.*)$", kind)
        default = match[1].strip("'") if match else None
        # Whole numbers the exporter knows, sometimes as None.
        known = default in ("None", "[]", "") or kind.startswith("int")
        found[name] = kind, None if known else default
    return found


def _shapes(network: mx.sym.Symbol, image_size: int, photos: int) -> dict[str, Shape]:
    internals = network.get_internals()
    _, shapes, _ = infer_shapes(internals, image_size, photos)
    return dict(zip(internals.list_outputs(), shapes, strict=True))


def _constant(network: mx.sym.Symbol, name: str) -> Made:
    """Let MXNet compute what depends on nothing."""
    from onnx import helper, numpy_helper

    [value] = network.get_internals()[f"{name}_output"].bind(mx.cpu(), {}).forward()
    tensor = numpy_helper.from_array(value.asnumpy())
    return [helper.make_node("Constant", [], [name], value=tensor)], [value.dtype]
