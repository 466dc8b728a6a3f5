"""The few ONNX messages that are needed, written without the 60 MB of the package `onnx`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from routing.classifier.e5.protobuf import message

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONTRIB = "com.microsoft"  # the domain of onnxruntime's own operators; that of the standard ones is empty

# Names and numbers of fields are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
MODEL = {"ir_version": 1, "graph": 7, "opset_import": 8, "metadata_props": 14}
OPERATOR_SET = {"domain": 1, "version": 2}
METADATA = {"key": 1, "value": 2}
GRAPH = {"node": 1, "name": 2, "initializer": 5, "input": 11, "output": 12}
NODE = {"input": 1, "output": 2, "op_type": 4, "attribute": 5, "domain": 7}
ATTRIBUTE = {"name": 1, "f": 2, "i": 3, "type": 20}
TENSOR = {"dims": 1, "data_type": 2, "name": 8, "raw_data": 9}
VALUE_INFO = {"name": 1, "type": 2}
TYPE = {"tensor_type": 1}
TENSOR_TYPE = {"elem_type": 1, "shape": 2}
SHAPE = {"dim": 1}
DIMENSION = {"dim_value": 1, "dim_param": 2}

DATA_TYPES = {"float32": 1, "int8": 3, "int64": 7}
ATTRIBUTE_FLOAT, ATTRIBUTE_INT = 1, 2

IR_VERSION = 9
OPERATOR_VERSIONS = {"": 18, CONTRIB: 1}


class GraphWriter:
    """Collect constants and operators, then write them as a model."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: dict[str, bytes] = {}

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add a tensor and return its name."""
        self._constants[name] = message(
            TENSOR,
            dims=list(values.shape),
            data_type=DATA_TYPES[values.dtype.name],
            name=name,
            raw_data=values.tobytes(),
        )
        return name

    def node(self, kind: str, inputs: list[str], *outputs: str, domain: str = "", **attributes: float) -> str:
        """Add an operator and return the name of its first output."""
        self._nodes.append(
            message(
                NODE,
                input=inputs,
                output=list(outputs),
                op_type=kind,
                attribute=[_attribute(name, value) for name, value in attributes.items()],
                domain=domain,
            )
        )
        return outputs[0]

    def model(self, width: int) -> bytes:
        """Return the file: one float32 input `hidden` (1, tokens, width) and one output `mean` (1, width)."""
        graph = message(
            GRAPH,
            node=self._nodes,
            name="e5",
            initializer=list(self._constants.values()),
            input=_value_info("hidden", 1, "tokens", width),
            output=_value_info("mean", 1, width),
        )
        versions = [
            message(OPERATOR_SET, domain=domain, version=number) for domain, number in OPERATOR_VERSIONS.items()
        ]
        return message(MODEL, ir_version=IR_VERSION, opset_import=versions, graph=graph)


def metadata(key: str, value: str) -> bytes:
    """Return a field of a model's metadata; protobuf lets it follow a model that is already written."""
    return message(MODEL, metadata_props=message(METADATA, key=key, value=value))


def _attribute(name: str, value: float) -> bytes:
    if isinstance(value, float):
        return message(ATTRIBUTE, name=name, f=value, type=ATTRIBUTE_FLOAT)
    return message(ATTRIBUTE, name=name, i=value, type=ATTRIBUTE_INT)


def _value_info(name: str, *shape: int | str) -> bytes:
    """Describe a float32 input or output; a size that varies has a name."""
    sizes = [
        message(DIMENSION, dim_value=size) if isinstance(size, int) else message(DIMENSION, dim_param=size)
        for size in shape
    ]
    tensor = message(TENSOR_TYPE, elem_type=DATA_TYPES["float32"], shape=message(SHAPE, dim=sizes))
    return message(VALUE_INFO, name=name, type=message(TYPE, tensor_type=tensor))
