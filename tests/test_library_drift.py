"""Every argument that the lab passes to a library exists in the installed one: read from signatures, before any run."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT

from adaptlab import sections

OURS = {"adaptlab", "config", "benchmarks", "synthesis_helpers"}
OPTIONAL = {"unsloth", "docling"}  # in no environment of the tests: looked at where they are installed
# Calls on objects, whose class an import does not tell: where the method of that name is.
CLASSES = {
    "pandas.DataFrame": "to_csv to_string pivot sort_values reset_index rename_axis groupby dropna reindex set_axis",
    "pandas.io.formats.style.Styler": "format_index hide set_table_styles set_caption set_uuid",
    "matplotlib.axes.Axes": "axhline axvline bar barh errorbar fill_between hist hlines imshow scatter tick_params "
    "set_xlim set_ylim set_xticks set_yticks set_xscale legend set_title set_xlabel set_ylabel grid",
    "matplotlib.figure.Figure": "savefig suptitle supxlabel subplots colorbar",
    "transformers.PreTrainedTokenizerBase": "apply_chat_template",
    "trl.SFTTrainer": "train",
    "huggingface_hub.HfApi": "upload_folder create_repo model_info",
    "fastapi.FastAPI": "add_api_route",
    "sdg_hub.Flow": "dry_run set_model_config validate_dataset",
    "pypdf.PageObject": "extract_text",
}
METHODS = {name: f"{owner}.{name}" for owner, names in CLASSES.items() for name in names.split()} | {
    "model.save_pretrained": "peft.PeftModel.save_pretrained",
    "with_raw_response.create": "openai.resources.chat.completions.Completions.create",
    "ainfer": "its_hub.SelfConsistency.ainfer",
    "merge_and_unload": "peft.tuners.lora.LoraModel.merge_and_unload",
    "get_nb_trainable_parameters": "peft.PeftModel.get_nb_trainable_parameters",
    "flow.generate": "sdg_hub.Flow.generate",
}
# What takes anything and hands it on: where the names are looked for instead.
HANDED_ON = {
    "transformers.AutoModelForCausalLM.from_pretrained": "transformers.PreTrainedModel.from_pretrained",
    "transformers.AutoModel.from_pretrained": "transformers.PreTrainedModel.from_pretrained",
    "transformers.AutoTokenizer.from_pretrained": "transformers.PreTrainedTokenizerBase",
    "transformers.AutoConfig.from_pretrained": "transformers.PreTrainedConfig",
    "sdg_hub.Flow.set_model_config": "litellm.completion",
    "yaml.dump": "yaml.dump_all",
    "yaml.safe_dump": "yaml.dump_all",
    "mammoth.convert_to_html": "mammoth.conversion",
    "py3langid.langid.LanguageIdentifier.from_model_file": "py3langid.langid",
    "matplotlib.axes.Axes.legend": "matplotlib.legend.Legend",
    "matplotlib.axes.Axes.axhline": "matplotlib.lines.Line2D",
    "matplotlib.axes.Axes.axvline": "matplotlib.lines.Line2D",
    "matplotlib.axes.Axes.barh": "matplotlib.patches.Patch",
    "matplotlib.axes.Axes.fill_between": "matplotlib.collections.Collection",
    "matplotlib.axes.Axes.hlines": "matplotlib.collections.Collection",
    "matplotlib.axes.Axes.scatter": "matplotlib.collections.Collection",
    "matplotlib.axes.Axes.set_xscale": "matplotlib.scale.LogScale",
    "matplotlib.figure.Figure.colorbar": "matplotlib.colorbar.Colorbar",
    **{
        f"matplotlib.{place}": "matplotlib.text.Text"
        for place in ("axes.Axes.set_xticks", "axes.Axes.set_yticks", "axes.Axes.set_xlabel", "axes.Axes.set_ylabel",
                      "figure.Figure.suptitle", "figure.Figure.supxlabel")
    },
}  # fmt: skip
FREE = {"transformers.PreTrainedTokenizerBase.apply_chat_template": {"enable_thinking"}}  # a variable of a template
AUTO = (
    "transformers.models.auto.auto_factory._BaseAutoModelClass"  # whose methods the Auto classes copy, signature lost
)


@dataclass(frozen=True)
class Called:
    """One call: where it stands, what is called, and what is passed."""

    where: str
    target: str
    positional: int
    keywords: tuple[str, ...]


def third_party(name: str) -> bool:
    """Whether a module is neither ours nor Python's."""
    top = name.split(".")[0]
    return top not in OURS and top not in sys.stdlib_module_names


def calls(source: str, where: str) -> Iterator[Called]:
    """The calls of a module that go to a library."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a cell with a shell line
        return
    names = imported(tree)
    for scope in [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))] or [
        tree
    ]:
        for node in ast.walk(scope):
            if isinstance(node, ast.Call) and (target := target_of(node.func, names)):
                positional = sum(not isinstance(argument, ast.Starred) for argument in node.args)
                yield Called(f"{where}:{node.lineno}", target, positional, tuple(keywords(node, scope)))


def imported(tree: ast.AST) -> dict[str, str]:
    """Local names of what is imported from the libraries, with where it comes from."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found = {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Assign) and re.fullmatch(r"_library\('[\w.]+'\)", ast.unparse(node.value)):
            found = {ast.unparse(node.targets[0]): ast.literal_eval(node.value.args[0])}  # type: ignore[attr-defined]
        else:
            continue
        names |= {name: dotted for name, dotted in found.items() if third_party(dotted)}
    return names


def target_of(func: ast.expr, names: dict[str, str]) -> str:
    """The dotted name of what is called, if it belongs to a library; empty if not."""
    text = ast.unparse(func)
    if not re.fullmatch(r"[\w.]+", text):  # a method of what another call returned
        return METHODS.get(func.attr, "") if isinstance(func, ast.Attribute) else ""
    head, _, rest = text.partition(".")
    if head in names:
        return f"{names[head]}.{rest}".rstrip(".")
    last = text.split(".")
    return METHODS.get(".".join(last[-2:]), METHODS.get(last[-1], "")) if len(last) > 1 else ""


def keywords(node: ast.Call, scope: ast.AST) -> Iterator[str]:
    """The names that are passed, also through `**options` where the function builds the dictionary itself."""
    for keyword in node.keywords:
        if keyword.arg is not None:
            yield keyword.arg
            continue
        used = {name.id for name in ast.walk(keyword.value) if isinstance(name, ast.Name)}
        yield from literal_keys(keyword.value)
        for other in ast.walk(scope):
            if isinstance(other, (ast.Assign, ast.AnnAssign)) and other.value is not None:
                targets = other.targets if isinstance(other, ast.Assign) else [other.target]
                for target in targets:
                    if isinstance(target, ast.Name) and target.id in used:
                        yield from literal_keys(other.value)
                    elif isinstance(target, ast.Subscript) and ast.unparse(target.value) in used:
                        if isinstance(target.slice, ast.Constant):
                            yield str(target.slice.value)


def literal_keys(node: ast.expr) -> Iterator[str]:
    """The string keys of a dictionary display, of either side of a condition."""
    if isinstance(node, ast.IfExp):
        yield from literal_keys(node.body)
        yield from literal_keys(node.orelse)
    elif isinstance(node, ast.Dict):
        yield from (key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str))


def resolve(dotted: str) -> Any:
    """The object behind a dotted name; raises AttributeError or ImportError where it is gone."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise ImportError(f"no module {parts[0]}")


def problem(called: Called) -> str:
    """What no longer fits; empty if everything does."""
    if called.target.split(".")[0] in OPTIONAL and not importlib.util.find_spec(called.target.split(".")[0]):
        return ""
    try:
        found = resolve(called.target)
    except (AttributeError, ImportError) as error:
        return f"{called.where}: {called.target} is gone ({error})"
    if isinstance(found, ModuleType) or not callable(found):
        return ""
    try:
        signature = inspect.signature(resolve(f"{AUTO}.from_config") if target_is_copied(called.target) else found)
    except (TypeError, ValueError):  # built in C
        return ""
    bound = 1 if called.target in METHODS.values() else 0
    named = [name for name in dict.fromkeys(called.keywords) if known(found, called.target, name, signature)]
    unknown = [name for name in dict.fromkeys(called.keywords) if name not in named]
    if unknown:
        return f"{called.where}: {called.target} takes no {', '.join(unknown)}"
    explicit = [name for name in named if name in signature.parameters]
    try:
        signature.bind_partial(*[None] * (called.positional + bound), **dict.fromkeys(explicit))
    except TypeError as error:
        return f"{called.where}: {called.target}: {error}"
    return ""


def target_is_copied(target: str) -> bool:
    """Whether a method of an Auto class shows another signature than it has."""
    return re.fullmatch(r"transformers\.AutoModel\w*\.from_config", target) is not None


def known(found: Any, target: str, name: str, signature: inspect.Signature) -> bool:
    """Whether a name is a parameter, a field, or is read from the keywords that are handed on."""
    if name in signature.parameters:
        return True
    if not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        return False
    if name in getattr(found, "model_fields", {}) or name in {
        item.name for item in (dataclasses.fields(found) if dataclasses.is_dataclass(found) else ())
    }:
        return True
    if name in FREE.get(target, ()):
        return True
    text = written(found) + (written(resolve(HANDED_ON[target])) if target in HANDED_ON else "")
    return re.search(rf"\b{name}\b", text) is not None


@cache
def written(found: Any) -> str:
    """The source of a function or a module, or of a class with what it inherits from libraries."""
    if not inspect.isclass(found):
        return inspect.getsource(found)
    return "".join(inspect.getsource(part) for part in found.__mro__ if third_party(part.__module__))


def everything() -> list[Called]:
    """The calls of the package and of the notebooks."""
    found: list[Called] = []
    for path in sorted((ROOT / "adaptlab").rglob("*.py")):
        found += calls(path.read_text("utf-8"), path.relative_to(ROOT).as_posix())
    for name in sections.SERIES:
        found += calls(sections.section(ROOT, name).code, name)
    return list(dict.fromkeys(found))


def test_every_argument_exists_in_the_installed_libraries():
    made = everything()
    assert [text for text in map(problem, made) if text] == []


@pytest.mark.parametrize(
    "target",
    ["peft.LoraConfig", "transformers.BitsAndBytesConfig", "sdg_hub.Flow.set_model_config",
     "its_hub.SelfConsistency.ainfer", "transformers.AutoModelForCausalLM.from_pretrained", "datasketch.MinHashLSH",
     "openai.resources.chat.completions.Completions.create", "trl.SFTTrainer.train", "huggingface_hub.HfApi.model_info",
     "matplotlib.axes.Axes.legend", "pandas.DataFrame.to_csv", "scipy.stats.bootstrap", "nbclient.NotebookClient"],
)  # fmt: skip
def test_the_calls_that_matter_are_seen_with_their_arguments(target):
    passed = {name for called in everything() if called.target == target for name in called.keywords}
    assert passed, f"no call of {target} with named arguments was found"
    if target.endswith("from_pretrained"):
        assert {"dtype", "quantization_config", "attn_implementation"} <= passed


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("from peft import LoraConfig\nLoraConfig(rank=8)", "peft.LoraConfig takes no rank"),
        (
            "from trl import SFTConfig\ndef f():\n    more = {'max_seq_length': 5}\n    SFTConfig(**more)",
            "max_seq_length",
        ),
        (
            "from transformers import BitsAndBytesConfig as B\nB(load_in_4bit=True, load_in_3bit=True)",
            "takes no load_in_3bit",
        ),
        (
            "from transformers import AutoModelForCausalLM as M\nM.from_pretrained('x', no_such_option=1)",
            "no_such_option",
        ),
        ("from trl import NoSuchTrainer\nNoSuchTrainer()", "trl.NoSuchTrainer is gone"),
        ("flow.set_model_config(no_such_model='x')", "takes no no_such_model"),
        ("ax.legend(loc='best', no_such_place=1)", "takes no no_such_place"),
        ("import yaml\nyaml.safe_dump({}, sort_keys=False, no_such_order=1)", "takes no no_such_order"),
        ("lsh = _library('datasketch')\nlsh.MinHashLSH(no_such_weight=1)", "takes no no_such_weight"),
        ("from bitsandbytes.nn import Linear4bit\nLinear4bit(" + "1, " * 20 + ")", "too many positional"),
    ],
)
def test_a_call_that_no_longer_fits_is_found(source, told):
    found = [text for text in map(problem, calls(source, "planted.py")) if text]
    assert len(found) == 1 and told in found[0] and found[0].startswith("planted.py:")


def test_a_notebook_with_a_shell_line_does_not_stop_the_check():
    assert list(calls("!pip list\nx = 1", "cell")) == [] and Path(ROOT, "adaptlab").is_dir()


def test_the_training_arguments_are_fields_of_the_trainers_configuration(tmp_path):
    from trl import SFTConfig

    from adaptlab.training import sft_arguments
    from config import PROFILES

    known = {item.name for item in dataclasses.fields(SFTConfig)}
    for profile in PROFILES.values():
        passed = sft_arguments(profile.training, tmp_path, precision="fp32", seed=1)
        assert {"completion_only_loss", "packing_strategy", "train_sampling_strategy"} <= set(passed) <= known


def test_the_arguments_of_its_hubs_client_are_in_its_signature():
    from its_hub import OpenAICompatibleLanguageModel

    tree = ast.parse((ROOT / "adaptlab" / "product.py").read_text("utf-8"))
    made = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "_paced(self.url)"]
    passed = {keyword.arg for call in made for keyword in call.keywords}
    assert passed and passed <= set(inspect.signature(OpenAICompatibleLanguageModel).parameters)
