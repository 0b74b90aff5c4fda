"""The kserve client: REST with JSON and with binary tensors, gRPC."""

import unittest

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

from asked import GRPC, HTTP, X, Y, close


def request(binary):
    x = InferInput("x", [2, 16], "FP32")
    x.set_data_from_numpy(X[:2], binary_data=binary)
    return InferRequest("tiny", [x], request_id="r7", parameters={"binary_data_output": binary})


class KServe(unittest.IsolatedAsyncioTestCase):
    async def test_rest(self):
        client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
        base = f"http://{HTTP}"
        self.assertTrue(await client.is_server_live(base))
        self.assertTrue(await client.is_server_ready(base))
        self.assertTrue(await client.is_model_ready(base, "tiny"))
        for binary in (False, True):
            answer = await client.infer(base, request(binary), model_name="tiny")
            self.assertEqual(answer.id, "r7")
            close(answer.outputs[0].as_numpy(), Y[:2])
        await client.close()

    async def test_grpc(self):
        async with InferenceGRPCClient(GRPC, retries=0) as client:
            self.assertTrue(await client.is_server_live())
            self.assertTrue(await client.is_server_ready())
            self.assertTrue(await client.is_model_ready("tiny"))
            x = InferInput("x", [2, 16], "FP32")
            x.set_data_from_numpy(X[:2], binary_data=True)
            answer = await client.infer(InferRequest("tiny", [x], request_id="r7"))
            self.assertEqual(answer.id, "r7")
            close(np.array(answer.outputs[0].as_numpy()).reshape(2, 4), Y[:2])


if __name__ == "__main__":
    unittest.main()
