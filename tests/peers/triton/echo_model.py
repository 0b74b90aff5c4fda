"""What Triton's Python backend runs for models that only echo: every input goes out as it came."""

import json

import triton_python_backend_utils as pb


class TritonPythonModel:
    def initialize(self, args):
        self.names = [tensor["name"] for tensor in json.loads(args["model_config"])["input"]]

    def execute(self, requests):
        return [pb.InferenceResponse([self.echo(request, name) for name in self.names]) for request in requests]

    def echo(self, request, name):
        # As DLPack, because numpy has no BF16.
        return pb.Tensor.from_dlpack(f"{name}_out", pb.get_input_tensor_by_name(request, name).to_dlpack())
