"""How the embedded models are made, and that those shipped are what their cards say."""

from __future__ import annotations

import json
import random
import re
from itertools import chain, islice
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

import config
from adaptlab import prompts
from adaptlab.miniature import (
    architecture,
    attention,
    corpus,
    measure,
    phrasings,
    phrasings_more,
    phrasings_spoken,
    pretrain,
    skills,
)
from adaptlab.miniature.catalogue import KINDS
from adaptlab.miniature.forms import FORMS, entity_passage, table_passage
from adaptlab.miniature.tokenizer import render
from adaptlab.miniature.world import answer, new_entity, new_world
from adaptlab.retrieval import terms

SHIPPED = {
    "mini-granite": 8_000_000,
    "mini-teacher": 14_000_000,
    "mini-granite-s": 4_000_000,
    "mini-qwen2": 6_000_000,
    "mini-phi3": 5_000_000,
}
ALL_WEIGHTS = 34_000_000
STUDENT = config.MODELS_DIR / "mini-granite"


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(STUDENT)


def test_conversations_follow_from_their_seed_alone() -> None:
    first, again, other = (list(islice(corpus.conversations("trunk", seed), 20)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("form", FORMS)
def test_every_fact_of_a_passage_can_be_read_in_it(form: str) -> None:
    for seed in range(40):
        world = new_world(seed)
        shown = (
            table_passage(world.rng, corpus.table_group(world))
            if form == "table"
            else entity_passage(world.rng, new_entity(world), form)
        )
        for entity, attribute in shown.facts:
            assert entity.values[attribute] in shown.text
            assert entity.name in shown.text or entity.name in shown.title


def test_every_attribute_has_trained_and_held_out_phrasings_that_differ() -> None:
    for kind in KINDS:
        for attribute in kind.attributes:
            trained = {t.lower() for t in phrasings.WIDE[kind.name, attribute.name]}
            held_out = {t.lower() for t in phrasings.SPECIFIC_HELD_OUT[kind.name, attribute.name]}
            assert trained and held_out and not trained & held_out
    assert not {t.lower() for t in phrasings.GENERIC} & {t.lower() for t in phrasings.GENERIC_HELD_OUT}


def _alike(one: str, other: str) -> float:
    """The share of content words that two wordings have in common."""
    a, b = (frozenset(terms(text.replace("{e}", "").replace("{E}", ""))) for text in (one, other))
    return len(a & b) / max(1, len(a | b))


def test_the_wider_wordings_come_near_to_no_held_out_one_and_to_no_unseen_question_of_the_benchmark() -> None:
    lines = (json.loads(line) for line in (config.ROOT / "00Setup" / "benchmark.jsonl").read_text("utf-8").splitlines())
    unseen = [p["text"] for line in lines for p in line["phrasings"] if p["role"] == "unseen form"]
    facts = (config.DOCUMENT_FOLDER / "facts.jsonl").read_text("utf-8").splitlines()
    for name in sorted({json.loads(line)["entity"] for line in facts}, key=len, reverse=True):
        unseen = [text.replace(name, "{e}") for text in unseen]
    assert len(unseen) > 100
    for key, known in phrasings.SPECIFIC.items():
        for wording in set(phrasings.WIDE[key]) - set(known):
            near = [t for t in phrasings.SPECIFIC_HELD_OUT[key] if _alike(wording, t) >= 0.5]
            near += [t for t in unseen if _alike(wording, t) >= 0.6]
            assert not near, (key, wording, near)


def test_the_rehearsal_of_the_prebuilt_training_rows_can_still_be_drawn() -> None:
    stored = config.ROOT / "prebuilt" / "mini" / "the-sea-that-left" / "training_data.jsonl"
    rows = [json.loads(line) for line in stored.read_text("utf-8").splitlines()]
    drawn = {row.id: row for row in skills.replay_rows(4000, "replay")}
    replay = [row for row in rows if row["source"].startswith("replay")]
    assert len(replay) > 300
    for row in replay:
        again = drawn[row["id"]]
        assert (row["prompt"][0]["content"], row["completion"][0]["content"]) == (
            again.prompt[0].content,
            again.completion[0].content,
        )


def test_the_mix_of_wider_wordings_asks_in_them() -> None:
    texts = [text for c in islice(corpus.conversations("wording", 5), 300) for role, text in c if role == "user"]
    narrow = [text for c in islice(corpus.conversations("student", 5), 300) for role, text in c if role == "user"]
    known = tuple(t for own in phrasings.SPECIFIC.values() for t in own)
    wider = (phrasings_more.MORE, phrasings_spoken.SPOKEN)
    ends = {t.split("}")[1] for one in wider for own in one.values() for t in own}
    rare = tuple(end for end in ends if len(end) > 15 and not any(t.endswith(end) for t in known))
    wide, few = (sum(text.endswith(rare) for text in asked) for asked in (texts, narrow))
    assert wide > 200 and wide > 20 * few


def test_the_mix_of_wider_wordings_mentions_an_entity_as_players_do() -> None:
    rng, entity = random.Random(2), new_entity(new_world("mentions"), next(k for k in KINDS if k.name == "monster"))
    attribute = next(iter(entity.values))
    wide = [corpus.question(rng, entity, attribute, wordings=phrasings.WIDE).lower() for _ in range(400)]
    narrow = [corpus.question(rng, entity, attribute).lower() for _ in range(400)]
    name = entity.name.lower()
    assert all(name in asked for asked in wide + narrow)
    for which in ("the", "our", "my", "this", "that"):
        assert any(f"{which} {name}" in asked for asked in wide)
    assert any(re.search(rf"\ban? {name}", asked) for asked in wide)
    assert all(f"the {name}" in asked for asked in narrow)


def test_training_never_asks_in_a_held_out_phrasing() -> None:
    stems = [t.split("{")[0].strip().lower() for t in phrasings.GENERIC_HELD_OUT]
    stems = [stem for stem in stems if len(stem) > 12]
    both = chain.from_iterable(islice(corpus.conversations(mix, 5), 300) for mix in ("trunk", "wording"))
    asked = [text.lower() for c in both for role, text in c if role == "user"]
    assert stems and not [stem for stem in stems for text in asked if text.startswith(stem)]


def test_the_answers_mask_covers_the_assistants_words_and_nothing_else(tokenizer) -> None:
    turns = [("user", "What is 2?"), ("assistant", "It is two."), ("user", "And 3?"), ("assistant", "Three.")]
    ids, mask = pretrain.encode([render(turns)], tokenizer)[0]
    assert tokenizer.decode(ids[mask]) == "It is two.<|end|>Three.<|end|>"


def test_the_tokenizer_renders_what_pretraining_rendered(tokenizer) -> None:
    turns = corpus.reading(random.Random(3))
    messages = [{"role": role, "content": content} for role, content in turns]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == render(turns)


def test_blocked_attention_computes_what_the_fused_kernel_does(tokenizer) -> None:
    torch.manual_seed(0)
    model = architecture.build("mini-granite", tokenizer).eval()
    ids = torch.randint(5, 2000, (2, 300))
    with torch.no_grad():
        fused = model(ids).logits
        model.set_attn_implementation(attention.NAME)
        assert torch.allclose(model(ids).logits, fused, atol=1e-5)


def test_a_grown_model_computes_what_its_trunk_does(tokenizer) -> None:
    torch.manual_seed(0)
    trunk, deep = (architecture.build(name, tokenizer).eval() for name in ("mini-granite", "mini-teacher"))
    fresh = {name: p.detach() for name, p in deep.named_parameters()}
    deep.load_state_dict(architecture.grow(dict(trunk.named_parameters()), fresh), strict=False)
    ids = torch.randint(5, 2000, (1, 40))
    with torch.no_grad():
        assert torch.allclose(deep(ids).logits, trunk(ids).logits, atol=1e-4)


@pytest.mark.parametrize("name", ["mini-granite-s", "mini-qwen2", "mini-phi3"])
def test_a_smaller_member_with_all_layers_of_the_student_computes_what_the_student_does(tokenizer, name: str) -> None:
    """So nothing but the dropped layers is lost: not a multiplier, not a bias, not a joined matrix."""
    weights = load_file(STUDENT / "model.safetensors")
    student = architecture.build("mini-granite", tokenizer).eval()
    student.load_state_dict(weights, strict=False)
    kind, own = architecture.FAMILY[name]
    with patch.dict(architecture.FAMILY, {name: (kind, {**own, "num_hidden_layers": 6})}):
        other = architecture.build(name, tokenizer).eval()
    report = other.load_state_dict(architecture.shrink(weights, name, range(6)), strict=False)
    assert report.missing_keys in ([], ["lm_head.weight"]) and not report.unexpected_keys
    ids = torch.randint(5, 2000, (1, 60), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(other(ids).logits, student(ids).logits, atol=2e-3)


def _stage(tokens: int) -> pretrain.Stage:
    return pretrain.Stage("mini-granite", "trunk", tokens, step_tokens=600, micro_tokens=600, max_length=400, warmup=2)


def test_a_resumed_pretraining_equals_an_undisturbed_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = torch.load(pretrain.train(_stage(2400), STUDENT, tmp_path / "whole"), weights_only=True)
    broken = pretrain.Trainer(_stage(2400), STUDENT, tmp_path / "broken")
    (tmp_path / "broken").mkdir()
    for _ in range(2):
        broken.run_step(4)
    pretrain._save(tmp_path / "broken", broken.masters, broken.optims, broken.step, broken.seen)
    resumed = torch.load(pretrain.train(_stage(2400), STUDENT, tmp_path / "broken"), weights_only=True)
    assert resumed["seen"] == whole["seen"]
    assert all(torch.equal(resumed["model"][name], weight) for name, weight in whole["model"].items())


def test_an_export_loads_back_as_bfloat16_safetensors(tmp_path: Path) -> None:
    trainer = pretrain.Trainer(_stage(600), STUDENT, tmp_path)
    pretrain._save(tmp_path, trainer.masters, trainer.optims, 0, 0)
    pretrain.export(tmp_path / "checkpoint.pt", "mini-granite", STUDENT, tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").stat().st_size <= SHIPPED["mini-granite"]
    assert not list((tmp_path / "out").glob("*.bin"))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_is_small_enough_and_has_a_card(name: str) -> None:
    folder = config.MODELS_DIR / name
    assert (folder / "model.safetensors").stat().st_size <= SHIPPED[name]
    card = (folder / "README.md").read_text("utf-8")
    assert "measured" in card.lower() and "seed" in card.lower()


def test_all_weights_together_are_small_and_every_miniature_is_there() -> None:
    weights = sorted(config.MODELS_DIR.glob("*/*.safetensors"))
    assert sum(path.stat().st_size for path in weights) <= ALL_WEIGHTS
    assert {path.parent.name for path in weights} == set(SHIPPED) == {n for n in config.MODELS if n.startswith("mini-")}


@pytest.mark.parametrize("name", ["mini-granite", "mini-granite-s", "mini-teacher"])
def test_a_shipped_granite_is_one_whose_multipliers_matter(name: str) -> None:
    settings = json.loads((config.MODELS_DIR / name / "config.json").read_text("utf-8"))
    assert settings["architectures"] == ["GraniteForCausalLM"]
    assert settings["max_position_embeddings"] >= 1024
    factors = ("embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling")
    assert all(settings[factor] != 1 for factor in factors)


def test_the_card_holds_the_figures_of_the_measurement_beside_it() -> None:
    for name in SHIPPED:
        rows = json.loads((config.MODELS_DIR / name / "measured.json").read_text("utf-8"))
        card = (config.MODELS_DIR / name / "README.md").read_text("utf-8")
        for row in rows:
            assert f"| {row['rate']:.2f} " in card and row["measure"].strip() in card


def test_reading_items_hold_their_answer_and_absent_ones_do_not() -> None:
    for i in range(24):
        item = skills.reading_item(f"test {i}", FORMS[i % 4])
        assert item.question.answer in item.messages[0].content
        assert 3 <= item.messages[0].content.count("\n\n[") <= 5
    assert skills.reading_item("test", "list", answerable=False).question.answer == prompts.NOT_IN_PASSAGE


def test_replay_rows_are_reproducible_and_end_with_the_assistant() -> None:
    rows = skills.replay_rows(30, "seed")
    assert rows == skills.replay_rows(30, "seed")
    assert {row.completion[0].role for row in rows} == {"assistant"}
    assert {row.source for row in rows} == {"replay: reading", "replay: closed", "replay: chat"}


def test_the_guess_control_scores_answers_against_other_gold() -> None:
    class Constant:
        def generate(self, chats, **_):
            return [[type("C", (), {"text": "It is 12."})()] for _ in chats]

    rows = {row["measure"].strip(): row for row in measure.closed_rows(Constant(), 60)}
    assert set(rows) == {
        "closed-book, unseen worlds (cannot know)",
        "its guess control (gold permuted within attribute)",
    }
    assert all(row["rate"] < 0.3 for row in rows.values())


def test_perfect_answers_pass_the_strict_scorer() -> None:
    """All but one, which is a fault of the scorer: a spell that is called "Move" is read as more than a name."""
    asked, missed = 0, []
    for seed in range(60):
        world = new_world(f"perfect {seed}")
        entity = new_entity(world)
        for attribute in entity.values:
            text = f"What is the {attribute} of {entity.kind.article}{entity.name}?"
            right = answer(entity, attribute)
            asked += 1
            if not measure.strict(skills.as_question("q", entity, attribute, text), right):
                missed.append(right)
    assert asked > 300 and missed == ["The Circle of Move Malyanor is 3."]


def test_the_drilled_reply_passes_and_another_fails_on_the_general_skills() -> None:
    for i in range(40):
        item = skills.general_item(f"general {i}")
        assert skills.is_right(item, item.question.answer)
        assert not skills.is_right(item, "It is 1000.")


def test_pretraining_continues_from_shipped_weights(tmp_path: Path) -> None:
    trainer = pretrain.Trainer(_stage(600), STUDENT, tmp_path, start_from=STUDENT)
    shipped = load_file(STUDENT / "model.safetensors")
    assert trainer.step == 0
    assert shipped.keys() == trainer.masters.keys()
    assert all(torch.equal(trainer.masters[name], weight.float()) for name, weight in shipped.items())


def test_quoting_asks_for_words_that_stand_in_the_passages() -> None:
    for seed in range(40):
        turns = corpus.quote(random.Random(seed))
        shown = turns[0][1]
        for _, said in turns[1::2]:
            lines = [line for line in said.split("\n") if line.strip()]
            assert lines and all(line in shown for line in lines)


def test_a_drill_can_only_be_answered_by_name() -> None:
    """Every attribute belongs to several entities, so that the attribute alone does not lead to the value."""
    for seed in range(40):
        shown = corpus._alike(random.Random(seed), new_world(f"drill {seed}"))
        owners: dict[str, set[str]] = {}
        for entity, attribute in (fact for passage in shown for fact in passage.facts):
            owners.setdefault(attribute, set()).add(entity.name)
        assert owners and all(len(names) >= 2 for names in owners.values())


def test_every_trained_question_is_recognised_as_asking_for_its_fact() -> None:
    world = new_world("asked")
    for _ in range(200):
        entity = new_entity(world)
        first, *others = entity.values
        asked = corpus.question(world.rng, entity, first)
        assert corpus.asks_for(asked, entity, first)
        assert not corpus.asks_for(asked, new_entity(world), first)


def test_fixed_books_keep_to_the_listed_words() -> None:
    assert new_world("fixed book 0", listed_words_only=True).novel is None and new_world("other").novel is not None


def test_every_member_of_the_family_can_be_built_and_all_together_stay_under_34_megabytes(tokenizer) -> None:
    built = {name: architecture.build(name, tokenizer) for name in architecture.FAMILY}
    sizes = {name: 2 * sum(p.numel() for p in model.parameters()) for name, model in built.items()}
    assert sizes["mini-teacher"] <= 14e6 and all(size <= 8e6 for name, size in sizes.items() if name != "mini-teacher")
    assert sum(sizes.values()) <= 34e6
    kinds = {type(model).__name__ for model in built.values()}
    assert kinds == {"GraniteForCausalLM", "Qwen2ForCausalLM", "Phi3ForCausalLM"}
