"""`adaptlab document`: look at documents before anything is generated from them, and convert them to Markdown."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import config
from adaptlab.commands import add, show
from config import LabError

if TYPE_CHECKING:
    from adaptlab.documents import Reading
    from adaptlab.documents.inspection import Inspection

PRINTED = 12  # so many sections and problems are printed; --json has them all
FILES_HELP = "Markdown, text, HTML, PDF, DOCX, or a folder of these"


def register(nouns: Any) -> None:
    """Add the group `document` to the command line."""
    group = nouns.add_parser("document", help="look at documents, or convert them to Markdown")
    verbs = group.add_subparsers(dest="verb", required=True, metavar="verb")
    looked = add(
        verbs,
        "inspect",
        "sections, tables, chunks and what looks broken, with a picture; several files are read as one document",
        document_inspect,
        example="adaptlab document inspect rules.pdf faq.docx",
    )
    looked.add_argument("files", nargs="+", type=Path, metavar="FILE", help=FILES_HELP)
    looked.add_argument("--chunk-size", type=int, help="characters of a chunk (the profile's)")
    looked.add_argument("--picture", type=Path, help="the PNG to write (in the folder of the outputs)")
    looked.add_argument("--no-picture", action="store_true", help="write none")
    converted = add(
        verbs,
        "convert",
        "write the text that the lab would read, as Markdown: repair it, then name it in LAB_DOCUMENT",
        document_convert,
        example="adaptlab document convert rules.pdf --out rules.md",
    )
    converted.add_argument("files", nargs="+", type=Path, metavar="FILE", help=FILES_HELP)
    converted.add_argument("--out", required=True, type=Path, help="the Markdown file to write")


def document_inspect(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Look at documents."""
    from adaptlab import documents
    from adaptlab.documents.inspection import inspect

    settings = config.settings(need_document=False)
    reading = documents.read(arguments.files)
    size = settings.profile.chunk_chars if arguments.chunk_size is None else arguments.chunk_size
    found = inspect(reading.text, size, min(settings.profile.chunk_overlap, size // 4))
    picture = None if arguments.no_picture else _picture(arguments, settings, found)
    value = {
        "files": [dataclasses.asdict(file) for file in reading.files],
        "notes": reading.notes,
        "picture": str(picture) if picture else None,
        **_as_json(found),
    }
    show(arguments, value, "\n".join([*_about(reading), *_lines(found), *([f"Picture: {picture}"] if picture else [])]))
    return 0


def document_convert(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Convert documents."""
    from adaptlab import documents
    from adaptlab.files import atomic_write_text

    if arguments.out.is_dir():
        raise LabError(f"--out names {arguments.out.name}, which is a folder: name a Markdown file.")
    if arguments.out.resolve() in {path.resolve() for path in arguments.files}:
        raise LabError(f"--out names {arguments.out.name}, which is the document itself: name another file.")
    reading = documents.read(arguments.files)
    atomic_write_text(arguments.out, reading.text)
    value = {"file": str(arguments.out), "characters": len(reading.text), "notes": reading.notes}
    show(arguments, value, "\n".join([*_about(reading), f"Wrote {arguments.out}."]))
    return 0


def _picture(arguments: argparse.Namespace, settings: config.Settings, found: Inspection) -> Path:
    """Draw the document's map; returns where it lies."""
    import io

    from adaptlab.figures_document import document_map
    from adaptlab.files import atomic_write_bytes

    names = [path.name for path in arguments.files]
    title = names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
    default = settings.outputs_dir / "documents" / f"{config.slugify(title)}.png"
    path: Path = arguments.picture or default
    if path.is_dir() or path.suffix.lower() != ".png":
        raise LabError(f"--picture names {path.name}: give a file name that ends in .png.")
    stream = io.BytesIO()
    document_map(found, title).savefig(stream, format="png")
    return atomic_write_bytes(path, stream.getvalue())


def _as_json(found: Inspection) -> dict[str, Any]:
    """The inspection as plain data; chunks by id and offsets, without their texts."""
    return {
        "characters": found.characters,
        "words": found.words,
        "shares": found.shares(),
        "sections": [section.model_dump() for section in found.sections],
        "tables": [dataclasses.asdict(table) for table in found.tables],
        "chunk_sizes": found.sizes(),
        "chunks": [{"id": c.id, "title": c.title, "start": c.start, "end": c.end} for c in found.chunks],
        "running_heads": found.heads,
        "furniture": [dataclasses.asdict(item) for item in found.furniture],
        "problem_counts": found.counts(),
        "problems": [dataclasses.asdict(problem) for problem in found.problems],
    }


def _about(reading: Reading) -> list[str]:
    """The files and how each was read, and the notes."""
    lines = [f"{file.name}: {file.kind}, read {_read_by(file.reader)}" for file in reading.files[:PRINTED]]
    lines += [f"and {len(reading.files) - PRINTED} more files"] if len(reading.files) > PRINTED else []
    return [*lines, *(f"Note: {note}" for note in reading.notes)]


def _read_by(reader: str) -> str:
    return reader if reader == "as it is" else f"with {reader}"


def _lines(found: Inspection) -> list[str]:
    """The inspection for a person."""
    shares = ", ".join(f"{kind} {share:.0%}" for kind, share in found.shares().items() if share >= 0.005)
    levels = [section.level for section in found.sections if section.level]
    sizes = found.sizes()
    rows = sum(table.rows for table in found.tables)
    lines = [
        f"{found.characters:,} characters, {found.words:,} words: {shares}",
        f"{len(levels)} sections on {len(set(levels))} levels; {len(found.tables)} tables with {rows:,} rows",
        f"{sizes['chunks']} chunks of {sizes['least']} to {sizes['most']} characters, median {sizes['median']:.0f}; "
        f"{sizes['under a quarter']} under a quarter of {found.chunk_size}, {sizes['over the size']} over it",
    ]
    skipped = sum(item.end - item.start for item in found.furniture)
    heads = ", ".join(f"{head} ({count})" for head, count in list(found.heads.items())[:PRINTED])
    if found.furniture:
        where = f"{len(found.furniture)} places, {skipped:,} characters"
        lines.append(f"Left out of the chunks (LAB_FURNITURE=keep keeps it): contents, page heads, numbers: {where}")
    lines += [f"Running heads: {heads}"] if heads else []
    largest = sorted((s for s in found.sections if s.level), key=lambda s: s.start - s.end)[:5]
    lines += [f"  largest section: {section.title} ({section.end - section.start:,})" for section in largest]
    if not found.problems:
        return [*lines, "Nothing looks broken."]
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(found.counts().items(), key=lambda x: -x[1]))
    lines.append(f"Looks broken ({len(found.problems)}): {counts}")
    lines += [f"  line {p.line}: {p.kind}: {p.advice}\n    {p.excerpt}" for p in _a_few(found)]
    rest = len(found.problems) - len(_a_few(found))
    return [*lines, f"  and {rest} more (--json has them all)"] if rest else lines


def _a_few(found: Inspection) -> list[Any]:
    """The first problems of each kind, in the order of the document."""
    kinds = found.counts()
    each = max(1, PRINTED // len(kinds))
    chosen = [p for kind in kinds for p in [p for p in found.problems if p.kind == kind][:each]]
    return sorted(chosen, key=lambda problem: problem.start)
