"""grpcio finds the services by reflection and calls them."""

from urllib.parse import urlsplit

import grpc
import requests
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from story import tell


def identity(given):
    with grpc.insecure_channel(urlsplit(given["issuer"]).netloc) as channel:
        reflection = ProtoReflectionDescriptorDatabase(channel)
        service = DescriptorPool(reflection).FindServiceByName("demo.v1.Identity")
        method = service.FindMethodByName("WhoAmI")
        call = channel.unary_unary(
            f"/{service.full_name}/{method.name}",
            request_serializer=GetMessageClass(method.input_type).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        request = GetMessageClass(method.input_type)()

        def who_am_i(authorization):
            metadata = [("authorization", authorization)] if authorization else []
            try:
                answer = call(request, metadata=metadata, timeout=10)
            except grpc.RpcError as error:
                return [error.code().name, error.details()]
            return {field.name: value for field, value in answer.ListFields()} | {"scopes": list(answer.scopes)}

        health = health_pb2_grpc.HealthStub(channel)
        serving = [
            health_pb2.HealthCheckResponse.ServingStatus.Name(
                health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10).status
            )
            for name in ["", service.full_name]
        ]
        bearer = f"Bearer {given['token']}"
        answers = {
            "services": sorted(reflection.get_services()),
            "health": serving,
            "good": who_am_i(bearer),
            "no token": who_am_i(None),
            "bad token": who_am_i("Bearer rubbish"),
        }
        headers = {"authorization": bearer}
        requests.post(given["issuer"] + "/auth/logout", headers=headers, timeout=10).raise_for_status()
        return answers | {"revoked": who_am_i(bearer)}


tell({"identity": identity})
