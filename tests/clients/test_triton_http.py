"""tritonclient over HTTP: JSON, binary, compressed, concurrent, in shared memory; the repository."""

import asyncio
import unittest

import ml_dtypes
import numpy as np
import tritonclient.http as client
import tritonclient.http.aio as aio
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from asked import HTTP, NUMBERS, X, Y, close


def tensor(name, array, binary=True):
    made = client.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    made.set_data_from_numpy(array, binary_data=binary)
    return made


class Http(unittest.TestCase):
    def setUp(self):
        self.server = client.InferenceServerClient(HTTP, concurrency=16)
        self.addCleanup(self.server.close)

    def test_the_server_and_its_models_are_live_and_ready(self):
        self.assertTrue(self.server.is_server_live())
        self.assertTrue(self.server.is_server_ready())
        self.assertTrue(self.server.is_model_ready("tiny"))
        self.assertTrue(self.server.is_model_ready("tiny", "1"))
        self.assertFalse(self.server.is_model_ready("none"))
        self.assertFalse(self.server.is_model_ready("tiny", "99"))

    def test_metadata_and_configuration_tell_the_tensors(self):
        metadata = self.server.get_model_metadata("tiny")
        self.assertEqual(metadata["inputs"], [{"name": "x", "datatype": "FP32", "shape": [-1, 16]}])
        self.assertEqual(metadata["outputs"], [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}])
        config = self.server.get_model_config("tiny")
        self.assertEqual(config["max_batch_size"], 8)
        self.assertEqual(config["input"][0]["data_type"], "TYPE_FP32")
        self.assertEqual([int(extent) for extent in config["input"][0]["dims"]], [16])
        self.assertIn("binary_tensor_data", self.server.get_server_metadata()["extensions"])

    def test_every_mix_of_json_and_binary_gives_the_same_numbers(self):
        for into in (False, True):
            for out in (False, True):
                wanted = [client.InferRequestedOutput("y", binary_data=out)]
                answer = self.server.infer("tiny", [tensor("x", X[:3], into)], outputs=wanted, request_id="r7")
                close(answer.as_numpy("y"), Y[:3])
                self.assertEqual(answer.get_response()["id"], "r7")

    def test_bodies_may_be_compressed_both_ways(self):
        for algorithm in ("gzip", "deflate"):
            answer = self.server.infer(
                "tiny",
                [tensor("x", X[:2], False)],
                request_compression_algorithm=algorithm,
                response_compression_algorithm=algorithm,
            )
            close(answer.as_numpy("y"), Y[:2])

    def test_every_type_of_number_comes_back_as_it_went(self):
        for binary in (False, True):
            inputs = [tensor(name, array, binary) for name, array in NUMBERS.items()]
            wanted = [client.InferRequestedOutput(f"{name}_out", binary_data=binary) for name in NUMBERS]
            answer = self.server.infer("numbers", inputs, outputs=wanted)
            for name, array in NUMBERS.items():
                np.testing.assert_array_equal(answer.as_numpy(f"{name}_out"), array)
                self.assertEqual(answer.as_numpy(f"{name}_out").dtype, array.dtype)

    def test_half_precision_comes_back_as_it_went(self):
        half = np.array([[1.5, -65504]], np.float16)
        brain = np.array([[1.5, -3.0]], ml_dtypes.bfloat16)
        answer = self.server.infer("halves", [tensor("fp16", half), tensor("bf16", brain)])
        np.testing.assert_array_equal(answer.as_numpy("fp16_out"), half)
        np.testing.assert_array_equal(answer.as_numpy("bf16_out"), brain)

    def test_concurrent_requests_get_their_own_answers(self):
        asked = [self.server.async_infer("tiny", [tensor("x", X[row : row + 1])]) for row in range(len(X))]
        for row, answer in enumerate(asked):
            close(answer.get_result().as_numpy("y"), Y[row : row + 1])

    def test_the_asyncio_client_works(self):
        async def ask():
            async with aio.InferenceServerClient(HTTP) as server:
                self.assertTrue(await server.is_server_ready())
                answers = await asyncio.gather(*(server.infer("tiny", [tensor("x", X[i : i + 2])]) for i in range(32)))
                for i, answer in enumerate(answers):
                    close(answer.as_numpy("y"), Y[i : i + 2])

        asyncio.run(ask())

    def test_priority_timeout_and_parameters_are_taken(self):
        answer = self.server.infer("tiny", [tensor("x", X[:1])], priority=1, timeout=5_000_000, parameters={"a": "b"})
        close(answer.as_numpy("y"), Y[:1])

    def test_statistics_count_what_was_asked(self):
        def counted():
            (model,) = self.server.get_inference_statistics("plain")["model_stats"]
            return [model["inference_count"], model["execution_count"], model["inference_stats"]["success"]["count"]]

        before = counted()
        for _ in range(5):
            self.server.infer("plain", [tensor("x", X[:3])])
        # `plain` has no batching: five requests are five executions; each of them is one inference
        # for a server that knows no batch axis, three for one that does.
        grown = [now - then for now, then in zip(counted(), before)]
        self.assertIn(grown, ([5, 5, 5], [15, 5, 5]))
        self.assertEqual({m["name"] for m in self.server.get_inference_statistics()["model_stats"]}, {"tiny", "plain", "numbers", "halves"})  # fmt: skip

    def test_a_model_is_unloaded_and_loaded_again(self):
        states = {model["name"]: model.get("state") for model in self.server.get_model_repository_index()}
        self.assertEqual(states, dict.fromkeys(["tiny", "plain", "numbers", "halves"], "READY"))
        self.server.unload_model("halves")
        try:
            self.assertFalse(self.server.is_model_ready("halves"))
        finally:
            self.server.load_model("halves")
        self.assertTrue(self.server.is_model_ready("halves"))

    def test_tensors_pass_through_shared_memory(self):
        size_in, size_out = X[:4].nbytes, Y[:4].nbytes
        region = shm.create_shared_memory_region("in_and_out", "/trt_pipeline_clients", size_in + size_out)
        try:
            shm.set_shared_memory_region(region, [X[:4]])
            self.server.register_system_shared_memory("in_and_out", "/trt_pipeline_clients", size_in + size_out)
            status = self.server.get_system_shared_memory_status()
            self.assertEqual([entry["name"] for entry in status], ["in_and_out"])
            x = client.InferInput("x", [4, 16], "FP32")
            x.set_shared_memory("in_and_out", size_in)
            y = client.InferRequestedOutput("y")
            y.set_shared_memory("in_and_out", size_out, offset=size_in)
            answer = self.server.infer("tiny", [x], outputs=[y])
            self.assertEqual(answer.get_output("y")["shape"], [4, 4])
            close(shm.get_contents_as_numpy(region, np.float32, [4, 4], offset=size_in), Y[:4])
            self.server.unregister_system_shared_memory("in_and_out")
            self.assertEqual(self.server.get_system_shared_memory_status(), [])
            with self.assertRaisesRegex(InferenceServerException, "in_and_out"):
                self.server.infer("tiny", [x], outputs=[y])
        finally:
            shm.destroy_shared_memory_region(region)

    def test_errors_reach_the_caller(self):
        for model, x, status, said in [
            ("none", X[:1], "404", "none"),
            ("tiny", X[:1, :15], "400", "x"),
            ("tiny", X[:9], "400", "8"),
            ("tiny", X[:1].astype(np.float64), "400", "FP32"),
        ]:
            with self.assertRaises(InferenceServerException) as caught:
                self.server.infer(model, [tensor("x", np.ascontiguousarray(x))])
            self.assertEqual(caught.exception.status(), status)
            self.assertIn(said, caught.exception.message())


if __name__ == "__main__":
    unittest.main()
