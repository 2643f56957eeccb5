"""The deployment files: valid against the published definitions, of one mind about names, and fit for any user id."""

from __future__ import annotations

import copy
import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import config

DEPLOY = config.ROOT / "deploy"
SCHEMAS = config.ROOT.parent / "shared" / "schemas"
CUSTOM = {
    "Notebook": "kubeflow-notebook",
    "ServingRuntime": "kserve-servingruntime",
    "InferenceService": "kserve-inferenceservice",
    "TrainJob": "kubeflow-trainjob",
}
VARIANTS = sorted((DEPLOY / "openshift" / "variants").glob("*.yaml"))


def documents(path: Path) -> list[dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a definition has two megabytes
    return [document for document in yaml.load_all(path.read_text("utf-8"), loader) if document]


def manifests() -> list[tuple[Path, dict[str, Any]]]:
    paths = sorted(DEPLOY.rglob("*.yaml"))
    return [(p, d) for p in paths for d in documents(p) if isinstance(d, dict) and d.get("kind") in CUSTOM]


def closed(schema: Any) -> Any:
    """The schema with unknown fields forbidden wherever it lists the known ones, as a strict API server does."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    listed = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if listed and not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema:
        made["additionalProperties"] = False
    return made


@functools.cache
def definition(kind: str, version: str) -> dict[str, Any]:
    """The published schema of a kind, closed."""
    path = SCHEMAS / f"{CUSTOM[kind]}.crd.yaml"
    if not path.is_file():
        pytest.skip("the published resource definitions are not beside this checkout (../shared/schemas)")
    [crd] = documents(path)
    [found] = [v for v in crd["spec"]["versions"] if v["name"] == version]
    schema = closed(found["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def problems(manifest: dict[str, Any]) -> list[str]:
    schema = definition(manifest["kind"], manifest["apiVersion"].rpartition("/")[2])
    validator = jsonschema.Draft202012Validator(schema)
    return [f"{'.'.join(map(str, e.absolute_path))}: {e.message}" for e in validator.iter_errors(manifest)]


def patched(manifest: dict[str, Any], variant: Path) -> dict[str, Any]:
    """The manifest after a variant's JSON patch (RFC 6902, of which the variants use `add` and `replace`)."""
    made = copy.deepcopy(manifest)
    for change in yaml.safe_load(variant.read_text("utf-8")):
        *way, last = [part.replace("~1", "/") for part in change["path"].split("/")[1:]]
        at = made
        for part in way:
            at = at[int(part)] if isinstance(at, list) else at[part]
        if last == "-":
            at.append(change["value"])
        else:
            assert change["op"] == "add" or last in at, f"{variant.name} replaces {change['path']}, which is not there"
            at[last] = change["value"]
    return made


def notebook() -> dict[str, Any]:
    [manifest] = documents(DEPLOY / "openshift" / "notebook.yaml")
    return manifest


@pytest.mark.parametrize(("path", "manifest"), manifests(), ids=lambda value: getattr(value, "name", ""))
def test_a_manifest_is_valid_against_the_published_definition(path: Path, manifest: dict[str, Any]) -> None:
    assert problems(manifest) == []


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda path: path.stem)
def test_every_variant_of_the_workbench_is_valid_and_names_a_profile(variant: Path) -> None:
    made = patched(notebook(), variant)
    [container] = made["spec"]["template"]["spec"]["containers"]
    named = [item["value"] for item in container["env"] if item["name"] == "LAB_PROFILE"]
    assert named and named[0] in config.PROFILES
    wants_gpu = "nvidia.com/gpu" in container["resources"]["limits"]
    assert wants_gpu == config.PROFILES[named[0]].needs_gpu
    assert problems(made) == []


FREE = {"metadata", "labels", "annotations", "limits", "requests", "nodeSelector"}  # maps whose keys are anybody's


def fields(part: Any, schema: dict[str, Any], way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each field below `part` whose name its definition knows."""
    if isinstance(part, list):
        for number, item in enumerate(part):
            yield from fields(item, schema.get("items", {}), (*way, number))
    elif isinstance(part, dict) and schema.get("type") == "object":
        for name, value in part.items():
            yield (*way, name)
            if name not in FREE:
                yield from fields(value, schema["properties"][name], (*way, name))


@pytest.mark.parametrize(("path", "manifest"), manifests(), ids=lambda value: getattr(value, "name", ""))
def test_each_field_that_is_misspelt_is_found(path: Path, manifest: dict[str, Any]) -> None:
    schema = definition(manifest["kind"], manifest["apiVersion"].rpartition("/")[2])
    ways = [way for way in fields(manifest["spec"], schema["properties"]["spec"], ("spec",)) if way != ("spec",)]
    validator = jsonschema.Draft202012Validator(schema)
    assert len(ways) > 10
    for *before, name in ways:
        wrong = copy.deepcopy(manifest)
        at: Any = wrong
        for part in before:
            at = at[part]
        at[name + "x"] = at.pop(name)
        assert any(f"'{name}x'" in error.message for error in validator.iter_errors(wrong)), (*before, name)


def built(folder: Path) -> list[dict[str, Any]]:
    """What the real kustomize makes of a folder, as `oc apply -k` would send it."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl, which brings kustomize, is not here")
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda path: path.stem)
def test_kustomize_builds_every_size_of_the_workbench(variant: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(DEPLOY / "openshift", tmp_path / "openshift")
    [listed] = documents(folder / "kustomization.yaml")
    listed["patches"][0]["path"] = f"variants/{variant.name}"
    listed["images"][0] |= {"newName": "registry.example/lab/workbench", "newTag": "1"}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(listed), "utf-8")
    made = {document["kind"]: document for document in built(folder)}
    assert sorted(made) == ["Notebook", "PersistentVolumeClaim", "ServiceAccount"]
    expected = patched(notebook(), variant)
    expected["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/lab/workbench:1"
    assert made["Notebook"] == expected


def test_kustomize_builds_the_serving_folder() -> None:
    kinds = [document["kind"] for document in built(DEPLOY / "serving")]
    assert sorted(kinds) == ["InferenceService", *["PersistentVolumeClaim"] * 2, "ServingRuntime"]


def test_both_cards_come_in_the_8_gb_size_and_in_the_full_one() -> None:
    sizes = {}
    for variant in VARIANTS:
        pod = patched(notebook(), variant)["spec"]["template"]["spec"]
        [container] = pod["containers"]
        assert container["resources"]["limits"] == container["resources"]["requests"]
        sizes[variant.stem] = (container["resources"]["limits"]["memory"], *pod.get("nodeSelector", {}).values())
    assert sizes == {
        "cpu": ("8Gi",),
        "l4": ("32Gi", "NVIDIA-L4"),
        "l4-8gb": ("8Gi", "NVIDIA-L4"),
        "l40s": ("48Gi", "NVIDIA-L40S"),
        "l40s-8gb": ("8Gi", "NVIDIA-L40S"),
    }


def test_all_that_a_restart_must_not_lose_lies_on_the_volume() -> None:
    pod = notebook()["spec"]["template"]["spec"]
    [container] = pod["containers"]
    [claim] = documents(DEPLOY / "openshift" / "volume.yaml")
    wanted = {"claimName": claim["metadata"]["name"]}
    [home] = [volume["name"] for volume in pod["volumes"] if volume.get("persistentVolumeClaim") == wanted]
    [mount] = [m["mountPath"] for m in container["volumeMounts"] if m["name"] == home]
    env = {item["name"]: item.get("value", "") for item in container["env"]}
    image = (DEPLOY / "openshift" / "Containerfile").read_text("utf-8")
    [image_home] = re.findall(r"\bHOME=(\S+)", image)
    assert image_home == mount == container["workingDir"] and env["HF_HOME"].startswith(f"{mount}/")
    assert "LAB_HOME:-$HOME/" in (DEPLOY / "openshift" / "start.sh").read_text("utf-8")  # outputs/ lies below it
    assert not {"LAB_OUTPUTS", "LAB_HOME", "HOME"} & set(env)


@pytest.mark.parametrize("page", sorted(DEPLOY.glob("*/README.md")), ids=lambda path: path.parent.name)
def test_every_step_of_a_page_ends_with_a_verification(page: Path) -> None:
    sections = re.split(r"(?m)^## ", page.read_text("utf-8"))[1:]
    steps = [step for section in sections for step in re.split(r"(?m)^(?=\d+\. )", section)[1:]]
    assert len(steps) >= 4
    assert [step.splitlines()[0] for step in steps if "**Verification.**" not in step] == []
    commands = [section for section in sections if "```sh" in section and not re.search(r"(?m)^\d+\. ", section)]
    assert [section.splitlines()[0] for section in commands if "**Verification.**" not in section] == []


def test_the_kustomization_lists_files_that_exist_and_one_of_the_variants() -> None:
    for folder in sorted(path.parent.name for path in DEPLOY.glob("*/kustomization.yaml")):
        [listed] = documents(DEPLOY / folder / "kustomization.yaml")
        for name in listed["resources"]:
            assert (DEPLOY / folder / name).is_file(), name
        for patch in listed.get("patches", []):
            assert DEPLOY / folder / patch["path"] in VARIANTS


def test_adapter_rank_served_is_the_rank_trained() -> None:
    [runtime] = documents(DEPLOY / "serving" / "serving-runtime.yaml")
    options = runtime["spec"]["containers"][0]["args"]
    [rank] = [int(o.rpartition("=")[2]) for o in options if o.startswith("--max-lora-rank=")]
    assert rank >= max(profile.lora.r for profile in config.PROFILES.values() if profile.needs_gpu)


def test_the_secret_is_a_template_without_values_and_names_variables_that_the_lab_reads() -> None:
    [secret] = documents(DEPLOY / "openshift" / "secret.template.yaml")
    assert set(secret["stringData"].values()) == {""}
    source = "".join(
        p.read_text("utf-8") for p in [config.ROOT / "config.py", *(config.ROOT / "adaptlab").glob("*.py")]
    )
    for name in secret["stringData"]:
        assert f'"{name}"' in source


def test_no_manifest_runs_as_root_or_escalates() -> None:
    for path, manifest in manifests():
        for container in re.findall(r"\{[^{}]*'allowPrivilegeEscalation'[^{}]*", str(manifest)):
            assert "'allowPrivilegeEscalation': False" in container, path
    assert notebook()["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
    users = re.findall(r"^USER (\S+)", (DEPLOY / "openshift" / "Containerfile").read_text("utf-8"), re.MULTILINE)
    assert users[-1] not in ("0", "root")


class Workbench:
    """The start script over folders of this test, with a program in Jupyter's place that prints how it was called."""

    def __init__(self, folder: Path) -> None:
        self.image, self.home = folder / "image", folder / "volume" / "model-adaptation-lab"
        self.image.mkdir()
        self.home.parent.mkdir()
        (self.image / "config.py").write_text("first")
        self.jupyter = folder / "jupyter"
        self.jupyter.write_text('#!/bin/sh\npwd\necho "$@"\n')
        self.jupyter.chmod(0o755)

    def start(self) -> subprocess.CompletedProcess[str]:
        names = {"LAB_IMAGE_COPY": self.image, "LAB_HOME": self.home, "LAB_JUPYTER": self.jupyter, "NB_PREFIX": "/a/b"}
        environment = {**os.environ, **{name: str(value) for name, value in names.items()}}
        script = str(DEPLOY / "openshift" / "start.sh")
        return subprocess.run([script], env=environment, capture_output=True, text=True, timeout=30)


def test_the_first_start_lays_the_lab_on_the_volume_and_later_ones_leave_it_alone(tmp_path: Path) -> None:
    workbench = Workbench(tmp_path)
    said = workbench.start()
    assert said.returncode == 0 and str(workbench.home) in said.stdout and "--ServerApp.base_url=/a/b" in said.stdout
    assert workbench.home.stat().st_mode & 0o070 == 0o070  # OpenShift's user ids differ, their group does not
    (workbench.home / "config.py").write_text("edited by a participant")
    (workbench.image / "config.py").write_text("a newer image")
    assert workbench.start().returncode == 0
    assert (workbench.home / "config.py").read_text() == "edited by a participant"
    assert [p.name for p in workbench.home.parent.iterdir()] == [workbench.home.name]


def test_a_folder_in_the_labs_place_is_not_overwritten(tmp_path: Path) -> None:
    workbench = Workbench(tmp_path)
    workbench.home.mkdir()
    (workbench.home / "notes.txt").write_text("mine")
    said = workbench.start()
    assert said.returncode == 2 and "holds no lab" in said.stderr
    assert [p.name for p in workbench.home.parent.rglob("*")] == [workbench.home.name, "notes.txt"]
