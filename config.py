"""Every setting of the Model Adaptation Lab: profiles, models, paths, seeds. Standard library only.

Importing this file does nothing but define names. `settings()` reads the environment (and `.env` if there is one)
and is the only place that can complain, always with one sentence that names the variable and the choices.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from adaptlab import environment
from adaptlab.environment import ROOT, LabError

MODELS_DIR = ROOT / "prebuilt" / "models"
DOCUMENT_FOLDER = ROOT / "02SyntheticDataGen"
RULEBOOK: str | None = "The-Sea-That-Left.md"  # None takes the only Markdown file of its folder
MODES = ("auto", "live", "prebuilt")
DEFAULT_SEED = 20261
SHORT_FLOW, SPELT_FLOW = "question_answer_pairs", "question_answer_rows"  # folders of 02SyntheticDataGen/flows
PREBUILT_ROWS = "prebuilt"  # what LAB_TRAINING_ROWS says for the rows that come with the repository
MINI_PART = "Part Four"  # the part of the shipped rulebook that the mini profile synthesises from
# Where the lab is published, for the notebooks' badges and clones: after a change run `adaptlab colab`.
REPOSITORY = "your_account/model-adaptation-lab"  # owner and name on GitHub; no account there can hold an underscore
REPOSITORY_REF = "v0.1.0"  # the tag (or branch) that Colab opens and clones


# --------------------------------------------------------------------------------------------------- models


@dataclass(frozen=True)
class ModelSpec:
    """A model by its registry name. `path` is a folder below the repository root, for models that the lab ships."""

    name: str
    repository: str = ""
    revision: str | None = None
    path: str | None = None
    precision: str = "bf16"

    @property
    def shipped(self) -> bool:
        """True for a model whose weights come with the repository."""
        return self.path is not None

    @property
    def remote(self) -> bool:
        """True for a model that is only reached through an OpenAI-compatible endpoint."""
        return self.path is None and not self.repository

    @property
    def location(self) -> str:
        """What `from_pretrained` takes: the folder of a shipped model, else the hub repository."""
        return str(ROOT / self.path) if self.path else self.repository

    @property
    def revision_text(self) -> str:
        """The revision for people: never invented, `unpinned` where there is none."""
        if self.shipped:
            return "shipped with the lab"
        return "at the endpoint" if self.remote else (self.revision or "unpinned")


MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec("mini-granite", path="prebuilt/models/mini-granite", precision="fp32"),
        ModelSpec("mini-granite-s", path="prebuilt/models/mini-granite-s", precision="fp32"),
        ModelSpec("mini-qwen2", path="prebuilt/models/mini-qwen2", precision="fp32"),
        ModelSpec("mini-phi3", path="prebuilt/models/mini-phi3", precision="fp32"),
        ModelSpec("mini-teacher", path="prebuilt/models/mini-teacher", precision="fp32"),
        ModelSpec("qwen3-1.7b", "Qwen/Qwen3-1.7B", precision="fp16"),
        ModelSpec("granite-3.2-8b-instruct", "ibm-granite/granite-3.2-8b-instruct", precision="bf16"),
        ModelSpec("granite-3.2-2b-instruct", "ibm-granite/granite-3.2-2b-instruct", precision="bf16"),
        ModelSpec("phi-3-mini-4k-instruct", "microsoft/Phi-3-mini-4k-instruct", precision="bf16"),
        ModelSpec("qwen2.5-3b-instruct", "Qwen/Qwen2.5-3B-Instruct", precision="bf16"),
        ModelSpec("endpoint"),
    )
}


# --------------------------------------------------------------------------------------------------- profiles


@dataclass(frozen=True)
class LoraSettings:
    """The adapter: rank, scale, and the layers it touches: PEFT's `all-linear`, or a pattern of their whole names."""

    r: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target_modules: str = "all-linear"


@dataclass(frozen=True)
class TrainingSettings:
    """One training run; `optimizer` is a name that transformers knows, `max_length` is in tokens.

    `replay_share` counts replay tokens for each token about the document: replay rows hold passages and are longer.
    `open_book_share` counts those of questions over the document's pages likewise. Each epoch gets rows of its own of
    both. A fact with fewer rows than `least_rows` has them repeated up to that.
    """

    epochs: float
    batch_size: int
    gradient_accumulation: int
    learning_rate: float
    optimizer: str
    max_length: int
    warmup: float = 0.03
    scheduler: str = "cosine"
    packing: bool = False
    replay_share: float = 1.0
    open_book_share: float = 1.0
    least_rows: int = 0


@dataclass(frozen=True)
class SamplingSettings:
    """Best-of-N: how many candidates, and how they are drawn."""

    counts: tuple[int, ...] = (1, 2, 4, 8, 16)
    temperature: float = 0.8
    max_new_tokens: int = 48


NOT_IN_KEYS = {"in_key": False}  # a field that no step's result depends on: changing it computes nothing again


@dataclass(frozen=True)
class Profile:
    """One scale of the lab. Models go by name; `endpoint` means LAB_TEACHER_MODEL at LAB_ENDPOINT_URL."""

    name: str
    hardware: str
    student: str
    teacher: str
    judge: str
    precision: str
    quantisation: str | None
    lora: LoraSettings
    training: TrainingSettings
    sampling: SamplingSettings
    generation_batch: int
    context_window: int
    chunk_chars: int
    chunk_overlap: int
    part_chars: int | None
    table_rows: int | None = None
    reply_tokens: int = 960  # the longest reply of a teacher that writes rows
    retrieval_k: int = 4
    flow: str = "stellar-peak-605"  # SDG Hub's "Document Based Knowledge Tuning" flow; or one of the lab's, by its name
    needs_gpu: bool = True
    offline: bool = False
    prices: tuple[float, float] | None = None  # the teacher's, for a million tokens read and a million written
    engine: str = "plain"  # `unsloth` where that is installed beside an NVIDIA GPU, else plain all the same
    # What 04Evaluation/02_MultiModelEval compares: a name of MODELS, a hub repository or a folder with weights each.
    compared: tuple[str, ...] = field(default=(), metadata=NOT_IN_KEYS)
    # Without an endpoint the student's own base is teacher and judge; a step's models are in its key by themselves.
    teaches_itself: bool = field(default=False, metadata=NOT_IN_KEYS)


MINI = Profile(
    name="mini",
    hardware="two CPU cores, no GPU, no network",
    student="mini-granite",
    teacher="mini-teacher",
    judge="mini-teacher",
    precision="fp32",
    quantisation="nf4",
    # A model this small has little room for facts in few directions; finding a name on a page is left to the base.
    lora=LoraSettings(r=64, alpha=128, target_modules=r".*(mlp\..*|\.[vo])_proj"),
    training=TrainingSettings(
        epochs=4,
        batch_size=8,  # batches are by length: two of them in a step mix rows with and without a passage
        gradient_accumulation=2,
        learning_rate=2.4e-3,
        optimizer="adamw_torch",
        max_length=768,
        replay_share=0.9,
        least_rows=5,
    ),
    sampling=SamplingSettings(),
    generation_batch=64,
    context_window=1536,
    chunk_chars=800,
    chunk_overlap=0,
    part_chars=60_000,
    table_rows=1,
    reply_tokens=512,  # its whole replies are shorter; a longer one repeats itself, and nothing beyond is ever kept
    flow=SHORT_FLOW,
    retrieval_k=3,  # a fourth finds a few more quotes but costs the miniature readings (seen on the benchmark)
    needs_gpu=False,
    offline=True,
    compared=("mini-granite", "mini-granite-s", "mini-qwen2", "mini-phi3"),
)
T4 = Profile(
    name="t4",
    hardware="one NVIDIA T4 with 16 GB, as on Colab",
    student="qwen3-1.7b",
    teacher="endpoint",
    judge="endpoint",
    precision="fp16",
    quantisation=None,
    lora=LoraSettings(),
    training=TrainingSettings(
        epochs=3, batch_size=8, gradient_accumulation=2, learning_rate=2e-4, optimizer="adamw_8bit", max_length=512
    ),
    engine="unsloth",
    teaches_itself=True,
    sampling=SamplingSettings(max_new_tokens=256),
    generation_batch=16,
    context_window=4096,
    chunk_chars=1200,
    chunk_overlap=100,
    part_chars=None,
    # In 16 bits the 8B Granite does not answer within 16 GB (`fit.predict`); the student takes its place.
    compared=("qwen3-1.7b", "granite-3.2-2b-instruct", "phi-3-mini-4k-instruct", "qwen2.5-3b-instruct"),
)
L4 = Profile(
    name="l4",
    hardware="one NVIDIA L4 with 24 GB",
    student="granite-3.2-8b-instruct",
    teacher="endpoint",
    judge="endpoint",
    precision="bf16",
    quantisation="nf4",
    lora=LoraSettings(),
    training=TrainingSettings(
        epochs=3, batch_size=4, gradient_accumulation=4, learning_rate=2e-4, optimizer="adamw_8bit", max_length=1024
    ),
    engine="unsloth",
    sampling=SamplingSettings(max_new_tokens=256),
    generation_batch=16,
    context_window=8192,
    chunk_chars=1600,
    chunk_overlap=160,
    part_chars=None,
    compared=("granite-3.2-8b-instruct", "granite-3.2-2b-instruct", "phi-3-mini-4k-instruct", "qwen2.5-3b-instruct"),
)
L40S = replace(
    L4,
    name="l40s",
    hardware="one NVIDIA L40S with 48 GB, or larger",
    training=replace(L4.training, batch_size=16, gradient_accumulation=1, max_length=2048),
    generation_batch=64,
)
PROFILES: dict[str, Profile] = {profile.name: profile for profile in (MINI, T4, L4, L40S)}


# --------------------------------------------------------------------------------------------------- settings


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible endpoint, and how it may be asked; the key never shows in a printed or logged value.

    `requests_per_minute` is for all that one process asks (None: no limit); `timeout` is in seconds without a byte.
    """

    url: str | None = None
    key: str | None = field(default=None, repr=False)
    model: str | None = None
    requests_per_minute: int | None = None
    concurrency: int = 8
    timeout: int = 120
    more_urls: tuple[str, ...] = ()  # further endpoints that serve the same model: the work is shared out

    @property
    def configured(self) -> bool:
        """True if a URL was given; whether something answers there is not known yet."""
        return self.url is not None

    @property
    def urls(self) -> tuple[str, ...]:
        """Every URL that was given."""
        return (self.url, *self.more_urls) if self.url is not None else ()


@dataclass(frozen=True)
class Seeds:
    """One seed a room, all derived from LAB_SEED, so that no room's random numbers depend on another's."""

    base: int
    sampling: int
    synthesis: int
    training: int
    bootstrap: int

    @classmethod
    def of(cls, base: int) -> Seeds:
        """The seeds that belong to `base`."""
        return cls(base, base + 1, base + 2, base + 3, base + 4)


@dataclass(frozen=True)
class Settings:
    """Everything a run depends on, resolved once. `why` says how the profile was chosen."""

    profile: Profile
    why: str
    mode: str
    document: Path
    slug: str
    shipped_document: bool
    seeds: Seeds
    endpoint: Endpoint
    outputs_dir: Path
    prebuilt_root: Path
    sources: tuple[Path, ...] = ()
    keep_furniture: bool = False
    part_title: str | None = None
    benchmark: Path | None = None
    training_rows: str = ""  # a file of the learner's own rows for section 03, or `prebuilt`; empty takes section 02's
    shown_for: str = ""  # the profile that was asked for, where a replay shows the mini profile's results in its place
    root: Path = ROOT
    models_dir: Path = MODELS_DIR
    flows_dir: Path = DOCUMENT_FOLDER / "flows"
    benchmarks_dir: Path = ROOT / "benchmarks"

    @property
    def converted(self) -> bool:
        """True where the document is not one text file: its text is then made once, and stored with the results."""
        return len(self.sources) > 1 or not environment.is_plain_text(self.document)

    @property
    def document_name(self) -> str:
        """The document's name for people."""
        more = f" and {len(self.sources) - 1} more" if len(self.sources) > 1 else ""
        return f"{self.document.name}{more}"

    @property
    def document_variable(self) -> str:
        """What LAB_DOCUMENT must say for another process to read the same."""
        return os.pathsep.join(str(path) for path in self.sources)

    @property
    def flow(self) -> str:
        """The flow that writes question-answer rows: the profile's, as far as its teacher knows the form.

        The short flow names no form, because the miniature teacher was trained on it; any other teacher in its place
        gets the flow that spells the form out.
        """
        trained = self.profile.flow != SHORT_FLOW or self.teacher.name == MINI.teacher
        return self.profile.flow if trained else SPELT_FLOW

    @property
    def live_dir(self) -> Path:
        """Where this profile and document keep what this machine computed."""
        return self.outputs_dir / self.profile.name / self.slug

    @property
    def prebuilt_dir(self) -> Path:
        """Where this profile and document keep the results that come with the repository."""
        return self.prebuilt_root / self.profile.name / self.slug

    @property
    def own_teacher(self) -> bool:
        """True where no endpoint was given and the student's own base takes the teacher's and the judge's place."""
        return self.profile.teaches_itself and not self.endpoint.configured

    @property
    def student(self) -> ModelSpec:
        """The model that is adapted."""
        return self.model("student")

    @property
    def teacher(self) -> ModelSpec:
        """The model that writes synthetic rows."""
        return self.model("teacher")

    @property
    def judge(self) -> ModelSpec:
        """The model that checks answers."""
        return self.model("judge")

    def model(self, name: str) -> ModelSpec:
        """The model called `name`, or in the role `name`: student, teacher or judge."""
        roles = {"student": self.profile.student, "teacher": self.profile.teacher, "judge": self.profile.judge}
        wanted = roles.get(name, name)
        if self.endpoint.configured and self.endpoint.model and (name in ("teacher", "judge") or wanted == "endpoint"):
            return ModelSpec(self.endpoint.model)
        if wanted == "endpoint" and self.own_teacher:
            wanted = self.profile.student
        if wanted not in MODELS:
            raise LabError(f"There is no model {wanted!r}: choose one of {environment.listed((*roles, *MODELS))}.")
        return MODELS[wanted]


def settings(environ: Mapping[str, str] | None = None, *, need_document: bool = True) -> Settings:
    """Resolve the lab's settings from `environ`; without it, from the process environment over `.env`."""
    env = {**environment.read_env_file(ROOT / ".env"), **os.environ} if environ is None else dict(environ)
    env = {name: value.strip() for name, value in env.items()}
    mode = environment.choice(env, "LAB_MODE", MODES, "auto")
    sources = environment.documents(env, DOCUMENT_FOLDER, RULEBOOK)
    document = sources[0]
    if need_document:
        for source in sources:
            environment.check_document(source, "LAB_DOCUMENT" if env.get("LAB_DOCUMENT") else "the shipped document")
    prebuilt_root = environment.folder(env, "LAB_PREBUILT", ROOT / "prebuilt")
    slug = slugify(document.stem + (f" and {len(sources) - 1} more" if len(sources) > 1 else ""))
    asked, why = _profile(env, mode, prebuilt_root, slug)
    profile = _shown(asked, mode, prebuilt_root, slug)
    if profile is not asked:
        why = f"nothing was captured for {asked.name} yet: the results are those of {profile.name}"
    shipped = len(sources) == 1 and document.parent == DOCUMENT_FOLDER and not document.is_dir()
    return Settings(
        profile=profile,
        why=why,
        shown_for="" if profile is asked else asked.name,
        mode=mode,
        document=document,
        slug=slug,
        shipped_document=shipped,
        seeds=Seeds.of(environment.integer(env, "LAB_SEED", DEFAULT_SEED)),
        endpoint=_endpoint(env),
        outputs_dir=environment.folder(env, "LAB_OUTPUTS", ROOT / "outputs"),
        prebuilt_root=prebuilt_root,
        benchmark=environment.path_of(env["LAB_BENCHMARK"]) if env.get("LAB_BENCHMARK") else None,
        sources=sources,
        training_rows=_training_rows(env),
        keep_furniture=environment.choice(env, "LAB_FURNITURE", ("skip", "keep"), "skip") == "keep",
        part_title=env.get("LAB_PART") or (MINI_PART if shipped and profile is MINI else None),
    )


def slugify(text: str) -> str:
    """A folder name out of a document's name: lowercase words joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "document"


def _training_rows(env: Mapping[str, str]) -> str:
    """The path that LAB_TRAINING_ROWS names, or its word for the prebuilt rows; empty without it."""
    named = env.get("LAB_TRAINING_ROWS") or ""
    return named if named in ("", PREBUILT_ROWS) else str(environment.path_of(named))


def _profile(env: Mapping[str, str], mode: str, prebuilt_root: Path, slug: str) -> tuple[Profile, str]:
    """The profile that LAB_PROFILE names, else the one that fits the hardware, and why."""
    if env.get("LAB_PROFILE"):
        return PROFILES[environment.choice(env, "LAB_PROFILE", tuple(PROFILES), "mini")], "LAB_PROFILE names it"
    gpu = environment.find_gpu(env)
    if gpu is None:
        return MINI, "no NVIDIA GPU was found"
    name, gigabytes = gpu
    found = f"{name} with {gigabytes:.0f} GB was found"
    fitting = next((p for p, least in ((L40S, 40), (L4, 20), (T4, 14)) if gigabytes >= least), MINI)
    if mode == "prebuilt" and not (prebuilt_root / fitting.name / slug).is_dir():
        return MINI, f"{found}, but there are no prebuilt results for {fitting.name}"
    return fitting, found if fitting is not MINI else f"{found}, which is too small for the other profiles"


def _shown(profile: Profile, mode: str, prebuilt_root: Path, slug: str) -> Profile:
    """The profile whose results a replay shows: mini's in the place of one that nobody has captured yet."""
    captured = mode != "prebuilt" or (prebuilt_root / profile.name / slug).is_dir()
    return profile if captured or not (prebuilt_root / MINI.name / slug).is_dir() else MINI


def _endpoint(env: Mapping[str, str]) -> Endpoint:
    """The endpoint that the environment describes, if any."""
    urls = re.split(r"[\s,]+", env.get("LAB_ENDPOINT_URL") or "")
    urls = list(dict.fromkeys(url for url in urls if url))
    for url in urls:
        if not re.match(r"https?://[^/]", url):
            raise LabError(
                f"LAB_ENDPOINT_URL is {url!r}: give a URL such as http://localhost:8000/v1, or leave it unset."
            )
    return Endpoint(
        url=urls[0] if urls else None,
        more_urls=tuple(urls[1:]),
        key=env.get("LAB_ENDPOINT_KEY") or None,
        model=env.get("LAB_TEACHER_MODEL") or None,
        requests_per_minute=environment.integer(env, "LAB_ENDPOINT_RPM", 0) or None,
        concurrency=environment.positive(env, "LAB_ENDPOINT_CONCURRENCY", Endpoint.concurrency),
        timeout=environment.positive(env, "LAB_ENDPOINT_TIMEOUT", Endpoint.timeout),
    )
