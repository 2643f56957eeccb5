"""What `adaptlab doctor` asks of the machine and the network: short questions, each with a limit, side by side."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config import Endpoint, LabError, ModelSpec

HUB_SECONDS = 4.0
GPU_SECONDS = 5.0
GB = 1e9
# The files with a container's limit and what it uses of it, by version 2 and version 1 of cgroups.
CGROUP_MEMORY = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU as nvidia-smi tells it; memory in GB."""

    name: str
    total: float
    free: float
    driver: str


@dataclass(frozen=True)
class Weights:
    """Where a model's weights are: `here`, or to be downloaded, `size` in bytes where it is known."""

    model: str
    here: bool
    size: int | None
    fault: str = ""


class TurnedAway(LabError):
    """The endpoint answered and refused the key, the model or the address: a setting is wrong."""


def together(jobs: Mapping[str, tuple[Callable[[], Any], float]]) -> dict[str, Any]:
    """The answers to jobs asked at once, each within its own seconds; an exception is an answer, a late one is missing.

    Daemon threads, because a name that does not resolve can hold a thread longer than anybody should wait.
    """
    answers: dict[str, Any] = {}

    def ask(name: str, job: Callable[[], Any]) -> None:
        try:
            answers[name] = job()
        except Exception as error:  # told to the person by whoever asked
            answers[name] = error

    threads = {name: threading.Thread(target=ask, args=(name, job), daemon=True) for name, (job, _) in jobs.items()}
    began = time.monotonic()
    for thread in threads.values():
        thread.start()
    for name, (_, seconds) in jobs.items():
        threads[name].join(max(0.0, began + seconds - time.monotonic()))
    return dict(answers)


def gpus() -> list[Gpu]:
    """The NVIDIA GPUs of this machine; empty without one, or where nvidia-smi does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=name,memory.total,memory.free,driver_version", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GPU_SECONDS, check=True)
        rows = [[part.strip() for part in line.rsplit(",", 3)] for line in done.stdout.strip().splitlines()]
        return [Gpu(name, float(total) / 1024, float(free) / 1024, driver) for name, total, free, driver in rows]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def disk_free(folder: Path) -> int:
    """Free bytes on the disk that `folder` lies on, or will lie on."""
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def memory(root: Path = Path("/")) -> tuple[int, int] | None:
    """Free and all bytes of memory, of the machine or of the container's share; None where the system does not tell."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        told = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
        free, whole = told["MemAvailable"], told["MemTotal"]
    except (OSError, ValueError, KeyError, IndexError):
        return None
    for names in CGROUP_MEMORY:
        try:
            most, taken = (int((root / "sys/fs/cgroup" / name).read_text()) for name in names)
        except (OSError, ValueError):  # no such version of cgroups, or no limit
            continue
        if most < whole:
            free, whole = min(free, max(0, most - taken)), most
    return free, whole


def hub_address() -> str | None:
    """The hub that the installed client downloads from (HF_ENDPOINT changes it); None without the client."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return os.environ.get("HF_ENDPOINT")
    return str(constants.ENDPOINT)


def reachable(url: str, seconds: float = HUB_SECONDS) -> bool:
    """Whether an HTTP server answers at `url`, with whatever status; proxies are respected."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True


def ask_endpoint(endpoint: Endpoint, seconds: float) -> str:
    """One chat with one token, without retries, and the time it took in words.

    Raises TurnedAway where a setting is wrong, and a LabError where no answer comes for another reason.
    """
    from adaptlab.endpoint import TURNED_AWAY, EndpointGenerator
    from adaptlab.generation import Request

    model = str(endpoint.model)
    asked = EndpointGenerator(
        str(endpoint.url), endpoint.key, model, timeout=seconds, max_retries=0, connect_timeout=seconds, give_up_after=2
    )
    began = time.perf_counter()
    answer = asked.run([Request([{"role": "user", "content": "Hello"}], max_tokens=1)])[0][0]
    if answer.status == "error":
        raise (TurnedAway if TURNED_AWAY in answer.faults else LabError)(answer.error)
    return f"{model} answered one token in {time.perf_counter() - began:.1f} s"


def weights(spec: ModelSpec, root: Path, online: bool) -> Weights:
    """Whether a model's weights are on this disk, and how large they are, asked of the hub where it is `online`."""
    if spec.path is not None:
        folder = root / spec.path
        size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        return Weights(spec.name, size > 0, size or None, "" if size else f"{spec.path} holds no model")
    snapshot = cached_snapshot(spec)
    if snapshot is not None:
        return Weights(spec.name, True, sum(path.stat().st_size for path in snapshot.rglob("*") if path.is_file()))
    if not online:
        return Weights(spec.name, False, None, f"{spec.name} is not downloaded and the hub cannot be reached")
    try:
        return Weights(spec.name, False, hub_size(spec))
    except Exception as error:  # the hub's own words: a gated or unknown repository, a time-out
        said = " ".join(str(error).split())[:120]
        return Weights(spec.name, False, None, f"{spec.name} cannot be looked up at the hub ({said})")


def cached_snapshot(spec: ModelSpec) -> Path | None:
    """The folder of a hub model that is downloaded whole; None if any of its weight files is missing."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(spec.repository, "config.json", revision=spec.revision)
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    index = folder / "model.safetensors.index.json"
    names = {"model.safetensors"}
    if index.is_file():
        names = set(json.loads(index.read_text("utf-8")).get("weight_map", {}).values())
    return folder if names and all((folder / name).is_file() for name in names) else None


def hub_size(spec: ModelSpec) -> int | None:
    """The bytes of a hub model's safetensors; None where the hub does not say."""
    from huggingface_hub import HfApi

    told = HfApi().model_info(spec.repository, revision=spec.revision, files_metadata=True, timeout=HUB_SECONDS)
    sizes = [item.size for item in told.siblings or [] if item.rfilename.endswith(".safetensors")]
    return sum(size for size in sizes if size) or None
