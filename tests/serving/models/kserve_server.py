"""A KServe model server: onnxruntime. Runs in KServe's own environment.

Arguments: name, ONNX file, threads; then KServe's own.
"""

import json
import sys

import grpc
import onnxruntime
import uvicorn

NAME, ONNX, THREADS = sys.argv[1:4]
ENDS = json.loads(sys.argv[4])
del sys.argv[1:5]

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer  # noqa: E402

# It listens on every interface, and has no setting for that
add_insecure_port = grpc.aio.Server.add_insecure_port
grpc.aio.Server.add_insecure_port = lambda self, address: add_insecure_port(
    self, address.replace("[::]", "127.0.0.1")
)
configure = uvicorn.Config.__init__


def configure_here(self, *args, **keys):
    configure(self, *args, **(keys | {"host": "127.0.0.1"}))


uvicorn.Config.__init__ = configure_here


class OnnxModel(Model):
    def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(THREADS)
        self._session = onnxruntime.InferenceSession(
            ONNX, options, providers=["CPUExecutionProvider"]
        )
        self.ready = True
        return self.ready

    def get_input_types(self):
        return ENDS["inputs"]

    def get_output_types(self):
        return ENDS["outputs"]

    def predict(self, payload: InferRequest, headers=None, response_headers=None):
        (given,) = payload.inputs
        names = [output["name"] for output in ENDS["outputs"]]
        outputs = self._session.run(names, {given.name: given.as_numpy()})
        answered = []
        for name, output in zip(names, outputs, strict=True):
            answered.append(InferOutput(name, list(output.shape), "FP32"))
            answered[-1].set_data_from_numpy(output, binary_data=True)
        return InferResponse(payload.id, self.name, answered)


model = OnnxModel(NAME)
model.load()
ModelServer().start([model])
