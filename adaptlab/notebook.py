"""What every notebook starts with and shows with: banner, progress, tables and figures that say their origin."""

from __future__ import annotations

import hashlib
import html
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import config
from adaptlab import artifacts, colab, environment, progress as progress_module, provenance
from adaptlab.artifacts import Lab, Result
from adaptlab.capture import MANIFEST, read_manifest
from adaptlab.inert import inert, inert_frame
from adaptlab.progress import progress
from config import LabError, Settings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["LabError", "Table", "banner", "label", "measured_times", "progress", "quiet", "stamp", "start", "table"]

QUIET = {
    "LOG_LEVEL": "WARNING",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "DATASETS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "BITSANDBYTES_NOWELCOME": "1",
    "WANDB_DISABLED": "true",
    "TQDM_DISABLE": "1",
}
OWN_BASE = ": the student's own base, which is judge too, because LAB_ENDPOINT_URL is not set"
P_VALUE = re.compile(r"p( \(.+\))?")  # how a column of p values is named
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def start(name: str, resolved: Settings | None = None) -> Lab:
    """Set a notebook up: resolve the settings, silence library logs at their source, print the banner."""
    settings = resolved if resolved is not None else config.settings()
    quiet(settings)
    progress_module.context["notebook"] = name
    _show_figures()
    lab = Lab(settings, notebook=name)
    print(banner(lab))
    return lab


def quiet(settings: Settings) -> None:
    """Set what keeps libraries silent and, where the profile needs no network, offline; set before wins."""
    for variable, value in {**QUIET, **(OFFLINE if settings.profile.offline else {})}.items():
        os.environ.setdefault(variable, value)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*IProgress not found.*")


def _show_figures() -> None:
    """Let a matplotlib Figure that ends a cell be shown as a picture with alternative text, without pyplot's state."""
    try:
        from IPython import get_ipython
    except ImportError:  # a script outside Jupyter
        return
    if shell := get_ipython():
        from matplotlib.figure import Figure

        from adaptlab import alt_text

        shell.display_formatter.formatters["image/png"].for_type(Figure, alt_text.png)


def banner(lab: Lab) -> str:
    """What this notebook runs with and why; in a replay every line is the same on every machine."""
    settings = lab.settings
    rows = [
        ("profile", f"{settings.profile.name} ({settings.why})"),
        ("mode", _mode_words(lab)),
        ("device", _device_words(lab)),
        ("student", _model_words(settings.student)),
        ("teacher", _model_words(settings.teacher) + (OWN_BASE if settings.own_teacher else "")),
        ("document", f"{settings.document_name} ({_size(settings.sources)})"),
    ]
    kept = "" if settings.mode == "prebuilt" else colab.results_words(settings.outputs_dir)
    rows += [("results", kept)] if kept else []
    rows += [("missing", sentence) for sentence in _missing(lab)]
    return "\n".join([f"Model Adaptation Lab: {lab.notebook}", *(f"  {name:<9} {text}" for name, text in rows)])


def label(*results: Result) -> str:
    """The origins of some results as one line, each said once."""
    return " | ".join(dict.fromkeys(result.label for result in results))


class Table:
    """A data frame with a caption and its origin: as escaped HTML in a notebook, as text elsewhere; inert in both."""

    def __init__(self, frame: pd.DataFrame, caption: str, origin: str, precision: int, index: bool) -> None:
        self.frame = frame
        self.caption = inert(f"{caption} [{origin}]" if origin else caption)
        self.precision = precision
        self.index = index

    def _small(self, value: Any) -> str:
        """A p value as text: one that would be rounded to zero is only said to be smaller."""
        if not isinstance(value, float) or value != value:
            return "" if value != value else str(value)
        least = 10**-self.precision
        return f"<{least:.{self.precision}f}" if value < least else f"{value:.{self.precision}f}"

    def _p_values(self) -> list[Any]:
        """The columns that hold p values."""
        return [name for name in self.frame.columns if P_VALUE.fullmatch(str(name))]

    def __repr__(self) -> str:
        shown = inert_frame(self.frame)
        formats: Any = dict.fromkeys(self._p_values(), self._small)
        text = shown.to_string(
            index=self.index, formatters=formats, float_format=lambda value: f"{value:.{self.precision}f}"
        )
        return f"{self.caption}\n{text}"

    def _repr_html_(self) -> str:
        import pandas as pd

        number = hashlib.sha256(self.caption.encode("utf-8")).hexdigest()[:8]
        styler = inert_frame(self.frame).style.format(precision=self.precision, escape="html", na_rep="")
        if self._p_values() and self.frame.columns.is_unique and self.frame.index.is_unique:
            styler = styler.format(lambda value: html.escape(self._small(value)), subset=self._p_values())
        styler = styler.format_index(escape="html", axis=0).format_index(escape="html", axis=1)
        styler = styler.set_caption(html.escape(self.caption)).set_uuid(number)
        sides = [{"selector": "td, th", "props": "text-align: left; vertical-align: top;"}]
        sides.append({"selector": "caption", "props": "text-align: left; padding-bottom: 4px;"})
        styler = styler.set_table_styles(sides)
        numbers = [name for name in self.frame.columns if pd.api.types.is_numeric_dtype(self.frame[name])]
        if self.frame.columns.is_unique and self.frame.index.is_unique:
            styler = styler.set_properties(subset=numbers, **{"text-align": "right"})
        return str((styler if self.index else styler.hide(axis="index")).to_html())


def table(
    frame: pd.DataFrame, caption: str, *results: Result, precision: int = 2, index: bool = False, origin: str = ""
) -> Table:
    """A table to look at: put it last in a cell. Its caption ends with where its figures come from."""
    return Table(frame, caption, origin or label(*results), precision, index)


def stamp(figure: Figure, *results: Result, origin: str = "") -> Figure:
    """Write under a figure where its data come from."""
    figure.text(0.01, -0.02, origin or label(*results), fontsize=7, color="0.35", ha="left", va="top")
    return figure


def measured_times(lab: Lab) -> pd.DataFrame:
    """Minutes that each notebook took on the machines whose runs were captured, from the manifests."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for path in sorted(lab.settings.prebuilt_root.glob(f"*/*/{MANIFEST}")):
        manifest = read_manifest(path.parent)
        if manifest is None:
            continue
        shared = {"profile": manifest.profile, "document": manifest.document}
        for name, seconds in sorted(manifest.notebooks.items()):
            rows.append(
                {**shared, "notebook": name, "minutes": round(seconds / 60, 1), "measured on": manifest.device_of(name)}
            )
    return pd.DataFrame(rows, columns=["profile", "document", "notebook", "minutes", "measured on"])


# --------------------------------------------------------------------------------------------- banner's words


def _mode_words(lab: Lab) -> str:
    """The mode and what it means here."""
    if lab.settings.mode == "prebuilt":
        return "prebuilt (a replay: every result is read from prebuilt/, no model is loaded)"
    if lab.settings.mode == "live":
        return "live (what this machine has not computed yet, it computes now)"
    return "auto (this machine's results, else computed now if it can, else prebuilt)"


def _device_words(lab: Lab) -> str:
    """This machine, or in a replay the one that the results come from."""
    if lab.settings.mode != "prebuilt":
        return provenance.device_text()
    manifest = read_manifest(lab.settings.prebuilt_dir)
    if not manifest:
        return "none: nothing was captured yet"
    return f"{manifest.device_of(lab.notebook)}, as captured on {manifest.date}"


def _model_words(spec: config.ModelSpec) -> str:
    """A model's name with its repository and revision."""
    if spec.remote:
        return f"{spec.name} (behind LAB_ENDPOINT_URL)"
    name = spec.name if spec.shipped else f"{spec.name}, {spec.repository}"
    return f"{name} ({spec.revision_text}, {spec.precision})"


def _missing(lab: Lab) -> list[str]:
    """What a live run would lack, and what that means; nothing in a replay."""
    if lab.settings.mode == "prebuilt":
        return []
    means = "steps that need it show prebuilt results, if there are any"
    means = "steps that need it stop" if lab.settings.mode == "live" else means
    roles = [(lab.settings.student, artifacts.MODEL_LIBRARIES), (lab.settings.teacher, ())]
    found = [lab.obstacle([spec], libraries) for spec, libraries in roles]
    return [f"{obstacle}: {means}" for obstacle in dict.fromkeys(found) if obstacle]


def _size(paths: Sequence[Path]) -> str:
    """The size of a file for people."""
    if not all(path.exists() for path in paths):
        return "missing"
    files = [file for path in paths for file in (environment.document_files(path) if path.is_dir() else [path])]
    return f"{sum(file.stat().st_size for file in files) / 1000:.0f} KB"
