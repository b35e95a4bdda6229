"""Checks that the runtime stage of docker/Dockerfile installs the Debian package of every library a program links.

usage: check_image.py SOURCE_DIR PROGRAM...
"""
import pathlib
import re
import subprocess
import sys

root = pathlib.Path(sys.argv[1])
runtime = re.sub(r"\\\n", " ", (root / "docker/Dockerfile").read_text()).split(" AS runtime", 1)[1]
installed = set(re.search(r"apt-get install -y --no-install-recommends(.*?)&&", runtime, re.S).group(1).split())


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def direct_libraries(path):
    return re.findall(r"NEEDED\s+Shared library: \[(.+?)\]", output("readelf", "-d", path)) or re.findall(
        r"NEEDED\s+(\S+)", output("objdump", "-p", path))


needed = {}
for program in sys.argv[2:]:
    where = dict(re.findall(r"(\S+) => (/\S+)", output("ldd", program)))
    for library in direct_libraries(program):
        path = where.get(library, "")
        if "/.deps/" in path or not path:
            continue  # libtorch travels with the install tree
        for candidate in {path, str(pathlib.Path(path).resolve()), path.removeprefix("/usr"), "/usr" + path}:
            package = output("dpkg", "-S", candidate).split(":")[0]
            if package:
                needed.setdefault(package, library)
                break
        else:
            sys.exit(f"no Debian package owns {path}")
# In every Debian image.
always = {"libc6", "libgcc-s1"}
missing = {p: l for p, l in needed.items() if p not in installed | always}
for package, library in sorted(missing.items()):
    print(f"docker/Dockerfile: the runtime stage lacks {package} ({library})")
print(f"{len(needed)} packages needed")
sys.exit(bool(missing))
