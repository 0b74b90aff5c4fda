"""What Triton's Python backend runs: the ONNX model beside it, through onnxruntime on one thread.

All requests of one execution are one run of the model, so what Triton batches is computed as a batch.
"""

import os

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb


class TritonPythonModel:
    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = os.path.join(args["model_repository"], args["model_version"], "model.onnx")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def execute(self, requests):
        inputs = [pb.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        together = inputs[0] if len(inputs) == 1 else np.concatenate(inputs)
        y = self.session.run(["y"], {"x": together})[0]
        responses, start = [], 0
        for x in inputs:
            rows = y[start : start + len(x)]
            start += len(x)
            responses.append(pb.InferenceResponse([pb.Tensor("y", rows)]))
        return responses
