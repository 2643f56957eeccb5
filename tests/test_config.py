"""config.py: imports fast and alone, resolves settings, and names the variable when a value is wrong."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import config
from adaptlab import environment

NO_PROGRAMS = {"PATH": ""}


def fake_gpu(folder: Path, line: str) -> dict[str, str]:
    """A PATH on which nvidia-smi answers `line`."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{line}'\n")
    program.chmod(0o755)
    return {"PATH": str(folder)}


def test_import_is_fast_and_takes_nothing_but_the_standard_library():
    code = (
        "import sys, time; before = set(sys.modules); t = time.perf_counter(); import config; "
        "s = time.perf_counter() - t; new = {m.split('.')[0] for m in set(sys.modules) - before}; "
        "new -= {'config', 'adaptlab'}; "
        "print(s, sorted(new - set(sys.stdlib_module_names)))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], cwd=config.ROOT, capture_output=True, text=True, check=True).stdout
        for _ in range(3)
    ]
    assert min(float(run.split()[0]) for run in runs) < 0.2
    assert all(run.split(" ", 1)[1].strip() == "[]" for run in runs)


def test_import_survives_wrong_values_in_the_environment():
    env = {"LAB_PROFILE": "nonsense", "LAB_MODE": "?", "LAB_SEED": "x", "LAB_DOCUMENT": "/nowhere", "PATH": ""}
    subprocess.run([sys.executable, "-c", "import config"], cwd=config.ROOT, env=env, check=True)


def test_every_profile_is_frozen_and_names_known_models():
    assert set(config.PROFILES) == {"mini", "t4", "l4", "l40s"}
    for name, profile in config.PROFILES.items():
        assert {profile.student, profile.teacher, profile.judge} <= set(config.MODELS)
        assert profile.lora.r == (64 if name == "mini" else 16) and profile.lora.alpha == 2 * profile.lora.r
        assert profile.sampling.counts == (1, 2, 4, 8, 16) and profile.retrieval_k in (3, 4)
        with pytest.raises(dataclasses.FrozenInstanceError):
            profile.name = "other"  # type: ignore[misc]


def test_t4_profile_is_qwen_in_fp16_on_512_tokens():
    t4 = config.PROFILES["t4"]
    assert config.MODELS[t4.student].repository == "Qwen/Qwen3-1.7B"
    run = t4.training
    assert (t4.precision, run.epochs, run.batch_size, run.gradient_accumulation) == ("fp16", 3, 8, 2)
    assert (run.learning_rate, run.optimizer, run.max_length) == (2e-4, "adamw_8bit", 512)


def test_no_revision_is_invented():
    assert {spec.revision_text for spec in config.MODELS.values() if spec.repository} == {"unpinned"}


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("LAB_PROFILE", "h100", "choose one of mini, t4, l4, l40s"),
        ("LAB_MODE", "fast", "choose one of auto, live, prebuilt"),
        ("LAB_SEED", "-1", "give a whole number"),
        ("LAB_ENDPOINT_URL", "localhost:8000", "give a URL such as"),
    ],
)
def test_a_wrong_value_is_one_sentence_with_variable_and_choices(lab_environ, variable, value, told):
    with pytest.raises(config.LabError) as caught:
        config.settings({**lab_environ, variable: value})
    sentence = str(caught.value)
    assert variable in sentence and repr(value) in sentence and told in sentence
    assert "\n" not in sentence and sentence.endswith(".")


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "does not exist"), (b"", "is empty"), (b" \n\t\n", "is empty"), (b"PK\x03\x04\xff\xfe", "no text in UTF-8"),
     (b"rules\0rules", "no text in UTF-8")],
)  # fmt: skip
def test_a_bad_document_is_named(tmp_path, lab_environ, content, told):
    path = tmp_path / "bad.md"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(config.LabError, match=told) as caught:
        config.settings({**lab_environ, "LAB_DOCUMENT": str(path)})
    assert "bad.md" in str(caught.value) and "LAB_DOCUMENT" in str(caught.value)
    assert not (tmp_path / "outputs").exists()


def test_a_folder_without_documents_is_named(tmp_path, lab_environ):
    (tmp_path / "empty" / ".hidden.md").parent.mkdir()
    (tmp_path / "empty" / ".hidden.md").write_text("# Not seen\n", "utf-8")
    with pytest.raises(config.LabError, match="is a folder without documents"):
        config.settings({**lab_environ, "LAB_DOCUMENT": str(tmp_path / "empty")})


def test_the_document_names_the_folders(tmp_path, lab_environ):
    settings = config.settings(lab_environ)
    assert settings.live_dir == tmp_path / "outputs" / "mini" / "saltmarket-rules"
    assert settings.prebuilt_dir == tmp_path / "prebuilt" / "mini" / "saltmarket-rules"
    assert not settings.shipped_document


def test_outputs_that_are_a_file_are_refused(document, lab_environ):
    with pytest.raises(config.LabError, match="LAB_OUTPUTS names .* which is a file"):
        config.settings({**lab_environ, "LAB_OUTPUTS": str(document)})


@pytest.mark.parametrize(
    ("card", "profile"),
    [("Tesla T4, 15360", "t4"), ("NVIDIA L4, 23034", "l4"), ("NVIDIA L40S, 46068", "l40s"),
     ("NVIDIA H200, 143771", "l40s"), ("GeForce GT 1030, 2048", "mini"), ("No devices were found", "mini")],
)  # fmt: skip
def test_the_hardware_decides_without_lab_profile_and_says_why(tmp_path, lab_environ, card, profile):
    env = {**lab_environ, "LAB_PROFILE": "", **fake_gpu(tmp_path, card)}
    settings = config.settings(env)
    assert settings.profile.name == profile
    assert card.split(",")[0] in settings.why or settings.why == "no NVIDIA GPU was found"


def test_lab_profile_wins_over_the_hardware(tmp_path, lab_environ):
    settings = config.settings({**lab_environ, "LAB_PROFILE": "mini", **fake_gpu(tmp_path, "NVIDIA L4, 23034")})
    assert (settings.profile.name, settings.why) == ("mini", "LAB_PROFILE names it")


def test_a_replay_on_a_gpu_falls_back_to_the_profile_that_has_results(tmp_path, lab_environ):
    env = {**lab_environ, "LAB_PROFILE": "", "LAB_MODE": "prebuilt", **fake_gpu(tmp_path, "NVIDIA L4, 23034")}
    settings = config.settings(env)
    assert settings.profile.name == "mini" and "no prebuilt results for l4" in settings.why


def test_env_file_is_understood(tmp_path):
    path = tmp_path / ".env"
    path.write_text("# a comment\n\nexport LAB_MODE=live\nLAB_ENDPOINT_KEY='a # b'\nLAB_SEED=7 # seven\n")
    assert environment.read_env_file(path) == {"LAB_MODE": "live", "LAB_ENDPOINT_KEY": "a # b", "LAB_SEED": "7"}
    assert environment.read_env_file(tmp_path / "none") == {}


def test_env_file_with_a_broken_line_names_the_line(tmp_path):
    path = tmp_path / ".env"
    path.write_text("LAB_MODE=live\njust words\n")
    with pytest.raises(config.LabError, match=r"\.env line 2"):
        environment.read_env_file(path)


def test_the_environment_wins_over_the_env_file(tmp_path, monkeypatch, document):
    (tmp_path / ".env").write_text("LAB_MODE=live\nLAB_SEED=5\n")
    monkeypatch.setattr(config, "ROOT", tmp_path)
    monkeypatch.setenv("LAB_MODE", "prebuilt")
    monkeypatch.setenv("LAB_PROFILE", "mini")
    monkeypatch.setenv("LAB_DOCUMENT", str(document))
    settings = config.settings()
    assert (settings.mode, settings.seeds.base) == ("prebuilt", 5)


def test_the_key_is_never_shown(lab_environ):
    settings = config.settings({**lab_environ, "LAB_ENDPOINT_URL": "http://x/v1", "LAB_ENDPOINT_KEY": "s3cret"})
    assert settings.endpoint.key == "s3cret" and "s3cret" not in repr(settings)


def test_an_endpoint_takes_the_teachers_place_but_not_the_students(lab_environ):
    extra = {"LAB_ENDPOINT_URL": "http://x/v1", "LAB_TEACHER_MODEL": "big-model"}
    settings = config.settings({**lab_environ, **extra})
    assert (settings.teacher.name, settings.judge.remote, settings.student.name) == ("big-model", True, "mini-granite")
    assert config.settings(lab_environ).teacher.name == "mini-teacher"


def test_an_unknown_model_is_one_sentence(lab_environ):
    with pytest.raises(config.LabError, match="no model 'gpt'.*student.*mini-granite"):
        config.settings(lab_environ).model("gpt")
