"""A network with YuNet's outputs whose answer is known: the real one's accuracy is not what is tested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


def yunet_of_spots(path: Path) -> Path:
    """A network with YuNet's outputs: a face of one stride's side wherever the strides' means are bright."""
    onnx = pytest.importorskip("onnx")
    helper, tensors = onnx.helper, onnx.TensorProto
    nodes, constants, outputs = [], [], []

    def constant(name: str, values: np.ndarray) -> str:
        constants.append(onnx.numpy_helper.from_array(values, name))
        return name

    grey = constant("grey", np.full((1, 3, 1, 1), 1 / (3 * 255), np.float32))
    nodes.append(helper.make_node("Conv", ["input", grey], ["brightness"]))
    shape = {n: constant(f"rows{n}", np.array([1, -1, n], np.int64)) for n in (1, 4, 10)}
    zero = {n: constant(f"zero{n}", np.zeros((n, 1, 1, 1), np.float32)) for n in (4, 10)}
    for stride in (8, 16, 32):
        pooled = f"pooled{stride}"
        nodes.append(
            helper.make_node("AveragePool", ["brightness"], [pooled], kernel_shape=[stride] * 2, strides=[stride] * 2)
        )
        for kind, depth in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            maps = pooled
            if depth > 1:
                maps = f"{kind}{stride}maps"
                nodes.append(helper.make_node("Conv", [pooled, zero[depth]], [maps]))
            last = f"{kind}{stride}last"
            nodes.append(helper.make_node("Transpose", [maps], [last], perm=[0, 2, 3, 1]))
            nodes.append(helper.make_node("Reshape", [last, shape[depth]], [f"{kind}_{stride}"]))
            outputs.append((kind, f"{kind}_{stride}", depth))
    outputs.sort(key=lambda output: ("cls", "obj", "bbox", "kps").index(output[0]))
    graph = helper.make_graph(
        nodes,
        "spots",
        [helper.make_tensor_value_info("input", tensors.FLOAT, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info(name, tensors.FLOAT, [1, "rows", depth]) for _, name, depth in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)
    return path
