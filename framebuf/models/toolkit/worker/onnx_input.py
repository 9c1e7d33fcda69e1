"""An ONNX model's input as rknn-toolkit2 wants it: one float picture, (1, 3, height, width).

A model that takes bytes, or has its colours last, begins with nodes that turn them into that: a
cast, a subtraction, a division, a transposition. The toolkit cannot compile those; what they do
is done by its own mean and std, so they are cut off.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TO_NCHW = [0, 3, 1, 2]


def plain(path: str, target: str, turned: bool, cut: bool) -> tuple[Any, Any]:
    """Write the model with such an input to `target`; the mean and std of what was cut off.

    `turned`: its colours are last. `cut`: it takes bytes. Mean and std are None where it takes them
    as they are.
    """
    model = onnx.load(path)
    graph = model.graph
    (given,) = [each for each in graph.input if not _is_weight(graph, each.name)]
    axes = [axis.dim_value for axis in given.type.tensor_type.shape.dim]
    height, width = axes[1:3] if turned else axes[2:4]
    name, mean, std = given.name, None, None
    if cut:
        name, scale, shift, turned = _head(graph, given.name, turned)
        if scale is not None:  # x · scale + shift, as (x − mean) / std
            mean, std = (-shift / scale).tolist(), (1 / scale).tolist()
    if turned:  # what comes after wants its colours last
        after = given.name + "_turned"
        turn = helper.make_node("Transpose", [given.name], [after], perm=[0, 2, 3, 1])
        _replace(graph, name, after)
        graph.node.insert(0, turn)
    else:
        _replace(graph, name, given.name)
    picture = helper.make_tensor_value_info(given.name, TensorProto.FLOAT, [1, 3, height, width])
    rest = [each for each in graph.input if each.name != given.name]
    del graph.input[:]
    graph.input.extend([picture, *rest])
    del graph.value_info[:]
    for output in graph.output:
        if output.type.tensor_type.shape.dim:
            output.type.tensor_type.shape.dim[0].Clear()
            output.type.tensor_type.shape.dim[0].dim_value = 1
    _make_writable(graph)
    onnx.save(model, target)
    return mean, std


def _make_writable(graph: Any) -> None:
    """Keep whole numbers as lists: the toolkit writes into them, which raw bytes do not allow."""
    constants = [
        attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    ]
    for each in [*graph.initializer, *constants]:
        if each.data_type == TensorProto.INT64 and each.HasField("raw_data"):
            values = numpy_helper.to_array(each).ravel().tolist()
            each.CopyFrom(helper.make_tensor(each.name, each.data_type, each.dims, values))


def _head(graph: Any, name: str, turned: bool) -> tuple[str, Any, Any, bool]:
    """Follow and cut off the leading nodes: the tensor behind them, and what they did.

    The scale and the shift of each channel are None where nothing was done to the values.
    """
    scale, shift = np.ones(3), np.zeros(3)
    changed = False
    while True:
        users = [node for node in graph.node if name in node.input]
        if len(users) != 1 or any(name == output.name for output in graph.output):
            break
        (node,) = users
        if node.op_type == "Transpose" and turned and list(_said(node, "perm").ints) == TO_NCHW:
            turned = False
        elif node.op_type in ("Sub", "Div", "Mul", "Add") and node.input[0] == name:
            value = _channels(graph, node.input[1], turned)
            if value is None:
                break
            changed = True
            if node.op_type in ("Sub", "Add"):
                shift = shift + value if node.op_type == "Add" else shift - value
            else:
                factor = value if node.op_type == "Mul" else 1 / value
                scale, shift = scale * factor, shift * factor
        elif node.op_type != "Cast" or _said(node, "to").i != TensorProto.FLOAT:
            break
        name = node.output[0]
        graph.node.remove(node)
    return (name, scale, shift, turned) if changed else (name, None, None, turned)


def _said(node: Any, name: str) -> Any:
    return next(each for each in node.attribute if each.name == name)


def _channels(graph: Any, name: str, turned: bool) -> Any:
    """A constant of one value a channel; None where it is no such thing."""
    found = [each for each in graph.initializer if each.name == name]
    found += [
        node.attribute[0].t
        for node in graph.node
        if node.op_type == "Constant" and node.output[0] == name
    ]
    if len(found) != 1:
        return None
    value = numpy_helper.to_array(found[0]).astype(np.float64)
    if value.size == 1:
        return np.full(3, value.item())
    axis = -1 if turned else -3
    if value.size != 3 or value.ndim < -axis or value.shape[axis] != 3:
        return None
    return value.reshape(3)


def _replace(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for at, name in enumerate(node.input):
            if name == old:
                node.input[at] = new


def _is_weight(graph: Any, name: str) -> bool:
    """Old ONNX files list their weights among the inputs."""
    return any(each.name == name for each in graph.initializer)
