"""gRPC's own health and reflection services: one streams answers, the other streams both ways.
usage: grpc-app.py PORT [CERT KEY]"""
import sys
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

port, *tls = sys.argv[1:]
server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
servicer = health.HealthServicer()
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
servicer.set("app", health_pb2.HealthCheckResponse.SERVING)
reflection.enable_server_reflection(["grpc.health.v1.Health", reflection.SERVICE_NAME], server)
address = f"127.0.0.1:{port}"
if tls:
    pair = tuple(open(file, "rb").read() for file in reversed(tls))
    server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
else:
    server.add_insecure_port(address)
server.start()
print("ready", flush=True)
sys.stdin.read()
