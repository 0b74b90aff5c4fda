"""What grpcurl does: ask the server for its services, make the messages from that, call. And health."""

import unittest

import grpc
import numpy as np
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from asked import GRPC, X, Y, close

SERVICE = "inference.GRPCInferenceService"


class Reflection(unittest.TestCase):
    def setUp(self):
        self.channel = grpc.insecure_channel(GRPC)
        self.addCleanup(self.channel.close)

    def test_a_client_without_the_proto_file_can_call(self):
        database = ProtoReflectionDescriptorDatabase(self.channel)
        self.assertIn(SERVICE, database.get_services())
        service = descriptor_pool.DescriptorPool(database).FindServiceByName(SERVICE)
        self.assertIn("ModelStreamInfer", service.methods_by_name)

        def call(name, asked):
            method = service.methods_by_name[name]
            request = json_format.ParseDict(asked, message_factory.GetMessageClass(method.input_type)())
            answer = message_factory.GetMessageClass(method.output_type)
            ask = self.channel.unary_unary(
                f"/{SERVICE}/{name}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=answer.FromString,
            )
            return ask(request, timeout=30)

        self.assertTrue(call("ServerReady", {}).ready)
        x = {"name": "x", "datatype": "FP32", "shape": [1, 16], "contents": {"fp32_contents": X[0].tolist()}}
        answer = call("ModelInfer", {"model_name": "tiny", "inputs": [x]})
        close(np.frombuffer(answer.raw_output_contents[0], np.float32), Y[0])

    def test_the_standard_health_service_says_serving(self):
        health = health_pb2_grpc.HealthStub(self.channel)
        for service in ("", SERVICE):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
            self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    unittest.main()
