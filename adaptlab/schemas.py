"""The records that flow between the rooms of the lab, as validated pydantic models."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

Category = Literal[
    "explicit_rule",
    "table_lookup",
    "terminology",
    "multi_step_rule",
    "implicit_reasoning",
    "unanswerable",
]
CATEGORIES: tuple[Category, ...] = (
    "explicit_rule",
    "table_lookup",
    "terminology",
    "multi_step_rule",
    "implicit_reasoning",
    "unanswerable",
)
LOOKUP_CATEGORIES: tuple[Category, ...] = ("explicit_rule", "table_lookup", "terminology")
AnswerType = Literal["number", "dice", "name", "text", "list", "yes_no", "refusal"]
Form = Literal["stat_block", "list", "prose", "table"]
Split = Literal["visible", "held_out"]
PhrasingRole = Literal["seen form", "unseen form"]
Context = Literal["none", "retrieved", "oracle"]
GenerationStatus = Literal["ok", "empty", "error"]


class Record(BaseModel):
    """Base of every record: unknown fields are an error, so that a typo is never silently ignored."""

    model_config = ConfigDict(extra="forbid")


class Fact(Record):
    """One entity-attribute-value triple of a document; `start`/`end` are character offsets of `quote`."""

    id: str
    entity: str
    kind: str
    attribute: str
    value: str
    form: Form
    section: str
    quote: str
    start: int
    end: int
    split: Split
    in_mini: bool = True


class Section(Record):
    """A heading and the text under it; `start`/`end` are character offsets into the document."""

    title: str
    level: int
    path: list[str]
    start: int
    end: int


class Chunk(Record):
    """A verbatim slice of a document: `text == document[start:end]`; `title` is its section path joined by ' > '."""

    id: str
    title: str
    text: str
    start: int
    end: int


class Hit(Record):
    """A retrieved chunk with its rank (from 1) and the retriever's score."""

    chunk_id: str
    title: str
    text: str
    start: int
    end: int
    score: float
    rank: int


class Quote(Record):
    """A verbatim proof: `text` stands in the document under the heading `section`."""

    text: str
    section: str


class Phrasing(Record):
    """One way of asking a question; `template` names the generator template it follows, if any."""

    text: str
    role: PhrasingRole
    template: str | None = None


class Question(Record):
    """A benchmark question with its gold answer, accepted forms and proving quotes.

    `unproven` marks an answerable question that was kept on purpose without a quote; it is written only where true.
    """

    id: str
    version: int = 1
    category: Category
    answer_type: AnswerType
    phrasings: list[Phrasing] = Field(min_length=1)
    answer: str
    accepted: list[str] = Field(default_factory=list)
    quotes: list[Quote] = Field(default_factory=list)
    fact_ids: list[str] = Field(default_factory=list)
    split: Split = "visible"
    in_mini: bool = True
    unproven: bool = Field(default=False, exclude_if=lambda kept: not kept)
    _things: tuple[str, ...] = PrivateAttr(default=())

    @property
    def things(self) -> tuple[str, ...]:
        """The names of the things that its benchmark asks about, as far as it was loaded with others."""
        return self._things

    def among(self, things: tuple[str, ...]) -> Question:
        """This question as one of a benchmark that asks about these things; what a scorer may know of the others."""
        self._things = things
        return self

    def text(self, role: PhrasingRole = "unseen form") -> str:
        """The first phrasing with `role`, else the first phrasing there is."""
        return next((p.text for p in self.phrasings if p.role == role), self.phrasings[0].text)


class Message(Record):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class Row(Record):
    """A training row in TRL's conversational prompt/completion format, with its origin and every filter's verdict.

    `generator` says how it was made; in it `copy_of` names the row that this one is once more, `open_book_of` the one
    that it asks over pages, and `epoch` the only epoch that trains on it.
    """

    id: str
    prompt: list[Message]
    completion: list[Message]
    fact_ids: list[str] = Field(default_factory=list)
    source: str = "synthetic"
    chunk_id: str | None = None
    generator: dict[str, Any] = Field(default_factory=dict)
    verdicts: dict[str, str] = Field(default_factory=dict)

    @property
    def origin(self) -> str:
        """The id of the row that this one is once more, as a copy or over pages; else its own."""
        return str(self.generator.get("open_book_of") or self.generator.get("copy_of") or self.id)


class Arm(Record):
    """What is evaluated: a model, an optional adapter, a kind of context, the samples a question and the selector."""

    name: str
    model: str
    adapter: str | None = None
    context: Context = "none"
    n: int = 1
    selector: Literal["first", "majority", "reanswer"] = "first"
    temperature: float = 0.0


class Generation(Record):
    """One candidate answer, raw and kept; scores live apart.

    A question's first sample holds the messages and hits; they are the same for its other samples, which hold none.
    `attempts` are the calls to an endpoint that this sample took (0 where it came with another's), over all runs, and
    `faults` says what went wrong in those that failed.
    """

    question_id: str
    phrasing: str
    arm: str
    sample: int
    messages: list[Message] = Field(default_factory=list)
    hits: list[Hit] = Field(default_factory=list)
    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str | None = None
    seed: int | None = None
    seconds: float = 0.0
    status: GenerationStatus = "ok"
    error: str | None = None
    attempts: int = 1
    faults: list[str] = Field(default_factory=list)
