"""Calls the services of grpc-app.py through a proxy, and says what came out, a line each.
usage: grpc-client.py PORT HOST CA COOKIE"""
import sys
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

port, host, ca, cookie = sys.argv[1:]
credentials = grpc.ssl_channel_credentials(open(ca, "rb").read())
options = [("grpc.ssl_target_name_override", host), ("grpc.default_authority", f"{host}:{port}")]
channel = grpc.secure_channel(f"127.0.0.1:{port}", credentials, options)
metadata = [("cookie", cookie)] if cookie else []
health = health_pb2_grpc.HealthStub(channel)
reflection = reflection_pb2_grpc.ServerReflectionStub(channel)


def say(name, value):
    print(name, value, flush=True)


def status(call):
    try:
        return call()
    except grpc.RpcError as error:
        return error.code().name


def asked(service):
    return health_pb2.HealthCheckRequest(service=service)


say("check", status(lambda: health.Check(asked("app"), metadata=metadata, timeout=10).status))
say("missing", status(lambda: health.Check(asked("none"), metadata=metadata, timeout=10).status))

# Each question waits for the answer to the one before: nothing may be gathered on the way.
answers = []


def questions():
    for count in range(50):
        while len(answers) < count:
            time.sleep(0.001)
        yield reflection_pb2.ServerReflectionRequest(list_services="")


def converse():
    for answer in reflection.ServerReflectionInfo(questions(), metadata=metadata, timeout=20):
        answers.append(len(answer.list_services_response.service))
    return sum(answers)


say("conversation", status(converse))
watch = health.Watch(asked("app"), metadata=metadata)


def first():
    return next(watch).status


say("watch", status(first))
say("watch ended", status(lambda: next(watch).status))
