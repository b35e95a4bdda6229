"""A client made from nothing but the .proto: one job, health, reflection.

    python_client.py ADDRESS SOURCE DRIVING OUTPUT [--seed N] [--steps N]

Writes the video to OUTPUT and what it learned, as JSON, to standard output. Ends with the gRPC status
code of the job.
"""

import argparse
import importlib
import json
import pathlib
import sys
import tempfile

import grpc
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
CHUNK = 100_000  # unlike the C++ client's: the cuts must not matter


def generated():
    """The modules protoc makes from the contract."""
    folder = tempfile.mkdtemp()
    arguments = ["protoc", f"--proto_path={PROTO}", f"--python_out={folder}"]
    arguments += [f"--grpc_python_out={folder}", "reenact/v1/reenact.proto"]
    # The well-known types come with grpcio-tools.
    include = pathlib.Path(protoc.__file__).parent / "_proto"
    arguments.insert(1, f"--proto_path={include}")
    if protoc.main(arguments) != 0:
        sys.exit("protoc failed")
    sys.path.insert(0, folder)
    return (
        importlib.import_module("reenact.v1.reenact_pb2"),
        importlib.import_module("reenact.v1.reenact_pb2_grpc"),
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("driving", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int)
    arguments = parser.parse_args()
    pb, pb_grpc = generated()

    def requests():
        config = pb.JobConfig(seed=arguments.seed, num_steps=arguments.steps)
        config.source.image = arguments.source.read_bytes()
        yield pb.ReenactRequest(config=config)
        driving = arguments.driving.read_bytes()
        for start in range(0, len(driving), CHUNK):
            yield pb.ReenactRequest(driving_chunk=driving[start : start + CHUNK])

    learned = {"stages": [], "code": 0}
    options = [("grpc.max_receive_message_length", 64 << 20)]
    with grpc.insecure_channel(arguments.address, options) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ["", "reenact.v1.ReenactService"]:
            answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
            learned[f"health {service}".strip()] = health_pb2.HealthCheckResponse.ServingStatus.Name(
                answer.status
            )

        reflection = ProtoReflectionDescriptorDatabase(channel)
        learned["services"] = sorted(reflection.get_services())
        pool = descriptor_pool.DescriptorPool(reflection)
        service = pool.FindServiceByName("reenact.v1.ReenactService")
        learned["methods"] = sorted(method.name for method in service.methods)

        stub = pb_grpc.ReenactServiceStub(channel)
        models = stub.ListModels(pb.ListModelsRequest(), timeout=30)
        learned["models"] = [model.name for model in models.models]
        try:
            with arguments.output.open("wb") as output:
                for number, answer in enumerate(stub.Reenact(requests())):
                    assert answer.sequence_number == number, "sequence numbers have a gap"
                    kind = answer.WhichOneof("payload")
                    if kind == "video":
                        output.write(answer.video.data)
                    elif kind == "progress":
                        stage = pb.Stage.Name(answer.progress.stage)
                        if stage not in learned["stages"]:
                            learned["stages"].append(stage)
                    elif kind == "summary":
                        learned["frames_out"] = answer.summary.frames_out
                        learned["seed"] = answer.summary.seed
        except grpc.RpcError as error:
            learned["code"] = error.code().value[0]
            learned["message"] = error.details()
    print(json.dumps(learned))
    return learned["code"]


if __name__ == "__main__":
    sys.exit(main())
