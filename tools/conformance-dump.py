"""Writes the node tests that ONNX's Python package generates (onnx.backend.test) as files: <out>/<test>/model.onnx, tolerance.json, test_data_set_<i>/{input,output}_<j>.pb."""

import json
import os
import sys
import warnings

warnings.simplefilter("ignore")  # the generators divide by zero on purpose

from onnx import TensorProto, numpy_helper  # noqa: E402
from onnx.backend.test.case.node import collect_testcases  # noqa: E402


def serialized(value, info):
    kind = info.type
    if kind.HasField("sequence_type"):
        proto = numpy_helper.from_list(value, info.name)
    elif kind.HasField("optional_type"):
        proto = numpy_helper.from_optional(value, info.name)
    elif isinstance(value, TensorProto):
        proto = value
    else:
        proto = numpy_helper.from_array(value, info.name)
    return proto.SerializeToString()


def write(path, content):
    with open(path, "wb") as f:
        f.write(content)


for case in collect_testcases(None):
    folder = os.path.join(sys.argv[1], case.name)
    os.makedirs(folder)
    write(os.path.join(folder, "model.onnx"), case.model.SerializeToString())
    write(os.path.join(folder, "tolerance.json"), json.dumps({"rtol": case.rtol, "atol": case.atol}).encode())
    for i, (inputs, outputs) in enumerate(case.data_sets):
        data = os.path.join(folder, f"test_data_set_{i}")
        os.makedirs(data)
        for what, values, infos in (("input", inputs, case.model.graph.input), ("output", outputs, case.model.graph.output)):
            for j, value in enumerate(values):
                write(os.path.join(data, f"{what}_{j}.pb"), serialized(value, infos[j]))
