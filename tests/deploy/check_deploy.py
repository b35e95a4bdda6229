"""Checks that the manifests, the configuration and the Dockerfile agree with each other.

usage: check_deploy.py SOURCE_DIR
"""
import json
import pathlib
import re
import sys

import yaml

root = pathlib.Path(sys.argv[1])
deploy = root / "deploy/base"
problems = []


def check(condition, message):
    if not condition:
        problems.append(message)


def seconds(text):
    """'5m' or '30s' -> seconds."""
    return sum(int(n) * {"h": 3600, "m": 60, "s": 1}[u] for n, u in re.findall(r"(\d+)([hms])", text))


def setting(name):
    found = re.search(rf'^{name}\s*=\s*\[?"([^"]+)"', (deploy / "reenactd.toml").read_text(), re.M)
    check(found, f"deploy/base/reenactd.toml: no {name}")
    return found.group(1) if found else "0"


documents = {}
kustomization = yaml.safe_load((deploy / "kustomization.yaml").read_text())
for name in kustomization["resources"]:
    for document in yaml.safe_load_all((deploy / name).read_text()):
        check(document.get("apiVersion") and document.get("kind"), f"deploy/base/{name}: no apiVersion or kind")
        documents[document["kind"], document["metadata"]["name"]] = document
listed = set(kustomization["resources"]) | {"kustomization.yaml"}
check(listed == {p.name for p in deploy.glob("*.yaml")}, "deploy/base/kustomization.yaml does not list every manifest")
maps = {entry["name"]: entry["files"] for entry in kustomization["configMapGenerator"]}
for files in maps.values():
    for file in files:
        check((deploy / file).exists(), f"deploy/base/{file} is generated from but absent")

pod = documents["Deployment", "reenactd"]["spec"]["template"]["spec"]
container = pod["containers"][0]
ports = {port["name"]: port["containerPort"] for port in container["ports"]}
check(str(ports["grpc"]) == setting("listen").rsplit(":", 1)[1], "grpc containerPort is not the configured one")
check(str(ports["metrics"]) == setting("metrics-listen").rsplit(":", 1)[1], "metrics port is not the configured one")
check(pod["terminationGracePeriodSeconds"] > seconds(setting("drain-timeout")),
      "terminationGracePeriodSeconds is not longer than drain-timeout")
check(pod["securityContext"]["runAsNonRoot"] is True, "the pod may run as root")
check(container["securityContext"]["readOnlyRootFilesystem"] is True, "the root file system is writable")

# Probes name services the server's health service knows.
proto = (root / "proto/reenact/v1/reenact.proto").read_text()
package = re.search(r"^package (\S+);", proto, re.M).group(1)
service = re.search(r"^service (\S+) \{", proto, re.M).group(1)
for probe in ("startupProbe", "readinessProbe"):
    check(container[probe]["grpc"].get("service") == f"{package}.{service}", f"{probe} asks for another service")
check("service" not in container["livenessProbe"]["grpc"], "livenessProbe must ask for the empty service name")
for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
    check(container[probe]["grpc"]["port"] == ports["grpc"], f"{probe} asks another port")

# The mounted configuration is the one the arguments name.
mount = next(m for m in container["volumeMounts"] if m["name"] == "config")
volume = next(v for v in pod["volumes"] if v["name"] == "config")
check(volume["configMap"]["name"] in maps, "the config volume names no generated ConfigMap")
check(container["args"] == ["--config", f"{mount['mountPath']}/{maps[volume['configMap']['name']][0]}"],
      "args do not name the mounted configuration")

for name, headless in (("reenact", False), ("reenact-pods", True)):
    spec = documents["Service", name]["spec"]
    check((spec.get("clusterIP") == "None") == headless, f"Service {name}: wrong clusterIP")
    check(spec["ports"][0]["targetPort"] in ports, f"Service {name}: targetPort is no port of the pod")
endpoint = documents["PodMonitor", "reenactd"]["spec"]["podMetricsEndpoints"][0]
check(endpoint["port"] in ports, "PodMonitor: port is no port of the pod")

# The overlays stand on the base, and the GPU's patch fits what it patches.
for overlay, below in (("deploy", "base"), ("deploy/cuda", "../base")):
    listed = yaml.safe_load((root / overlay / "kustomization.yaml").read_text())
    check(listed["resources"] == [below], f"{overlay}/kustomization.yaml does not stand on deploy/base")
    for patch in listed.get("patches", []):
        check((root / overlay / patch["path"]).exists(), f"{overlay}/{patch['path']} is named but absent")
cuda = yaml.safe_load((root / "deploy/cuda/deployment.yaml").read_text())
check(("Deployment", cuda["metadata"]["name"]) in documents, "deploy/cuda patches an unknown Deployment")
gpu_container = cuda["spec"]["template"]["spec"]["containers"][0]
check(gpu_container["name"] == container["name"], "deploy/cuda patches an unknown container")
check(gpu_container["args"][:2] == container["args"] and "cuda" in gpu_container["args"],
      "deploy/cuda: args do not begin with the base's or name no GPU")
resources = gpu_container["resources"]
check(resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == 1,
      "deploy/cuda: a pod does not get exactly one GPU")
image = yaml.safe_load((root / "deploy/cuda/kustomization.yaml").read_text())["images"][0]
check(image["name"] == container["image"].split(":")[0], "deploy/cuda retags another image")
presets = json.loads((root / "CMakePresets.json").read_text())["configurePresets"]
check({"release", "cuda"} <= {preset["name"] for preset in presets}, "a preset of docker/Dockerfile is missing")

# Dockerfile: a small parser is enough for its shape.
text = (root / "docker/Dockerfile").read_text()
lines = [line for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip() and not line.startswith("#")]
instructions = [line.split(None, 1) for line in lines]
known = {"FROM", "ARG", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
check(all(i[0] in known for i in instructions), "Dockerfile: unknown instruction")
stages = [re.search(r" AS (\S+)", i[1]).group(1) for i in instructions if i[0] == "FROM"]
check(stages == ["build", "runtime"], "Dockerfile: stages are not build and runtime")
check(all("@" in i[1] or re.search(r":\S+", i[1]) for i in instructions if i[0] == "FROM"),
      "Dockerfile: a base image has no tag")
for stage in re.findall(r"--from=(\S+)", text):
    check(stage in stages, f"Dockerfile: copies from unknown stage {stage}")
for instruction, argument in instructions:
    if instruction == "COPY" and "--from" not in argument:
        for source in argument.split()[:-1]:
            check((root / source).exists(), f"Dockerfile: copies {source}, which does not exist")
command = json.loads(next(i[1] for i in instructions if i[0] == "CMD"))
check(any(i[0] == "COPY" and i[1].split()[-1] in command for i in instructions),
      "Dockerfile: CMD names a configuration that the image does not hold")
user = [i[1] for i in instructions if i[0] == "USER"]
check(user and user[-1].split(":")[0] == str(pod["securityContext"]["runAsUser"]),
      "Dockerfile: USER is not the manifest's runAsUser")
exposed = next(i[1] for i in instructions if i[0] == "EXPOSE").split()
check(sorted(exposed) == sorted(map(str, ports.values())), "Dockerfile: EXPOSE is not the pod's ports")

print("\n".join(problems) or "deploy: manifests, configuration and Dockerfile agree")
sys.exit(bool(problems))
