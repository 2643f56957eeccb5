"""The deployment files: valid against the published definitions, of one mind about names, and fit for any user id."""

from __future__ import annotations

import copy
import os
import re
import subprocess
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
    return [document for document in yaml.safe_load_all(path.read_text("utf-8")) if document]


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


def definition(kind: str, version: str) -> dict[str, Any]:
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


@pytest.mark.parametrize(("path", "manifest"), manifests(), ids=lambda value: getattr(value, "name", ""))
def test_a_misspelt_field_is_found(path: Path, manifest: dict[str, Any]) -> None:
    wrong = copy.deepcopy(manifest)
    first = next(iter(wrong["spec"]))
    wrong["spec"][first + "s_"] = wrong["spec"][first]
    assert any("_" in problem for problem in problems(wrong))


def test_the_kustomization_lists_files_that_exist_and_one_of_the_variants() -> None:
    for folder in ("openshift", "serving"):
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
