"""tritonclient over gRPC: raw contents, callbacks, a stream, shared memory, the repository."""

import asyncio
import queue
import unittest

import ml_dtypes
import numpy as np
import tritonclient.grpc as client
import tritonclient.grpc.aio as aio
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from asked import GRPC, NUMBERS, X, Y, close

SECONDS = 30


def tensor(name, array):
    made = client.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    made.set_data_from_numpy(array)
    return made


class Grpc(unittest.TestCase):
    def setUp(self):
        self.server = client.InferenceServerClient(GRPC)
        self.addCleanup(self.server.close)

    def test_the_server_and_its_models_are_live_and_ready(self):
        self.assertTrue(self.server.is_server_live())
        self.assertTrue(self.server.is_server_ready())
        self.assertTrue(self.server.is_model_ready("tiny", "1"))
        self.assertFalse(self.server.is_model_ready("none"))

    def test_metadata_and_configuration_tell_the_tensors(self):
        metadata = self.server.get_model_metadata("tiny")
        self.assertEqual([(t.name, t.datatype, list(t.shape)) for t in metadata.inputs], [("x", "FP32", [-1, 16])])
        config = self.server.get_model_config("tiny", as_json=True)["config"]
        self.assertEqual(config["max_batch_size"], 8)
        self.assertEqual(config["input"][0]["dims"], ["16"])
        self.assertTrue(self.server.get_server_metadata().extensions)

    def test_a_request_is_answered(self):
        answer = self.server.infer("tiny", [tensor("x", X[:3])], request_id="r7", client_timeout=SECONDS)
        close(answer.as_numpy("y"), Y[:3])
        self.assertEqual(answer.get_response().id, "r7")

    def test_messages_may_be_compressed(self):
        for algorithm in ("gzip", "deflate"):
            answer = self.server.infer("tiny", [tensor("x", X[:3])], compression_algorithm=algorithm)
            close(answer.as_numpy("y"), Y[:3])

    def test_every_type_of_number_comes_back_as_it_went(self):
        answer = self.server.infer("numbers", [tensor(name, array) for name, array in NUMBERS.items()])
        for name, array in NUMBERS.items():
            np.testing.assert_array_equal(answer.as_numpy(f"{name}_out"), array)

    def test_half_precision_comes_back_as_it_went(self):
        half = np.array([[1.5, -65504]], np.float16)
        brain = np.array([[1.5, -3.0]], ml_dtypes.bfloat16)
        answer = self.server.infer("halves", [tensor("fp16", half), tensor("bf16", brain)])
        np.testing.assert_array_equal(answer.as_numpy("fp16_out"), half)
        np.testing.assert_array_equal(answer.as_numpy("bf16_out"), brain)

    def test_concurrent_requests_get_their_own_answers(self):
        answered = queue.Queue()
        for row in range(len(X)):
            self.server.async_infer(
                "tiny",
                [tensor("x", X[row : row + 1])],
                callback=lambda result, error, row=row: answered.put((row, result, error)),
            )
        for _ in range(len(X)):
            row, result, error = answered.get(timeout=SECONDS)
            self.assertIsNone(error)
            close(result.as_numpy("y"), Y[row : row + 1])

    def test_a_stream_answers_each_request_in_order(self):
        answered = queue.Queue()
        self.server.start_stream(callback=lambda result, error: answered.put((result, error)))
        for row in range(64):
            self.server.async_stream_infer("tiny", [tensor("x", X[row : row + 1])], request_id=str(row))
        self.server.async_stream_infer("tiny", [tensor("x", X[:1, :15].copy())], request_id="bad")
        self.server.async_stream_infer("tiny", [tensor("x", X[:1])], request_id="after")
        for row in range(64):
            result, error = answered.get(timeout=SECONDS)
            self.assertIsNone(error)
            self.assertEqual(result.get_response().id, str(row))
            close(result.as_numpy("y"), Y[row : row + 1])
        _, error = answered.get(timeout=SECONDS)
        self.assertIn("x", error.message())
        result, error = answered.get(timeout=SECONDS)
        self.assertIsNone(error)
        self.assertEqual(result.get_response().id, "after")
        self.server.stop_stream()

    def test_the_asyncio_client_works(self):
        async def ask():
            async with aio.InferenceServerClient(GRPC) as server:
                self.assertTrue(await server.is_server_ready())
                answers = await asyncio.gather(*(server.infer("tiny", [tensor("x", X[i : i + 2])]) for i in range(32)))
                for i, answer in enumerate(answers):
                    close(answer.as_numpy("y"), Y[i : i + 2])

        asyncio.run(ask())

    def test_statistics_count_what_was_asked(self):
        def counted():
            (model,) = self.server.get_inference_statistics("plain").model_stats
            return model.inference_stats.success.count

        before = counted()
        for _ in range(5):
            self.server.infer("plain", [tensor("x", X[:3])])
        self.assertEqual(counted() - before, 5)

    def test_a_model_is_unloaded_and_loaded_again(self):
        index = self.server.get_model_repository_index()
        self.assertEqual({model.name for model in index.models}, {"tiny", "plain", "numbers", "halves"})
        self.server.unload_model("halves")
        try:
            self.assertFalse(self.server.is_model_ready("halves"))
        finally:
            self.server.load_model("halves")
        self.assertTrue(self.server.is_model_ready("halves"))

    def test_tensors_pass_through_shared_memory(self):
        size_in, size_out = X[:4].nbytes, Y[:4].nbytes
        region = shm.create_shared_memory_region("both", "/trt_pipeline_clients_grpc", size_in + size_out)
        try:
            shm.set_shared_memory_region(region, [X[:4]])
            self.server.register_system_shared_memory("both", "/trt_pipeline_clients_grpc", size_in + size_out)
            self.assertEqual(list(self.server.get_system_shared_memory_status().regions), ["both"])
            x = client.InferInput("x", [4, 16], "FP32")
            x.set_shared_memory("both", size_in)
            y = client.InferRequestedOutput("y")
            y.set_shared_memory("both", size_out, offset=size_in)
            self.server.infer("tiny", [x], outputs=[y])
            close(shm.get_contents_as_numpy(region, np.float32, [4, 4], offset=size_in), Y[:4])
            self.server.unregister_system_shared_memory()
        finally:
            shm.destroy_shared_memory_region(region)

    def test_errors_reach_the_caller(self):
        for model, x, status in [
            ("none", X[:1], "StatusCode.NOT_FOUND"),
            ("tiny", X[:1, :15], "StatusCode.INVALID_ARGUMENT"),
            ("tiny", X[:9], "StatusCode.INVALID_ARGUMENT"),
        ]:
            with self.assertRaises(InferenceServerException) as caught:
                self.server.infer(model, [tensor("x", np.ascontiguousarray(x))])
            self.assertEqual(caught.exception.status(), status)


if __name__ == "__main__":
    unittest.main()
