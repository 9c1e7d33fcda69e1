"""A model of Triton's python back-end: onnxruntime, with as many threads as its configuration says.

Runs in Triton's own environment, as model.py of a model repository.
"""

import json

import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(parameters["threads"]["string_value"])
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = parameters["onnx"]["string_value"]
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        tensor = triton.get_input_tensor_by_name(request, self._input).as_numpy()
        names = list(request.requested_output_names())
        outputs = self._session.run(names, {self._input: tensor})
        tensors = [triton.Tensor(name, output) for name, output in zip(names, outputs, strict=True)]
        return triton.InferenceResponse(tensors)
