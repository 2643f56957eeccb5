"""What is tracked is fit to be published: no secrets, no dead links, no paths of a machine; project files agree."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import subprocess
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from adaptlab import cli

SECRETS = {
    "AWS key": r"\bAKIA[0-9A-Z]{16}\b",
    "Hugging Face token": r"\bhf_[A-Za-z0-9]{20,}\b",
    "API key": r"\bsk-(?=[A-Za-z0-9_-]*\d)[A-Za-z0-9_-]{16,}",
    "GitHub token": r"\b(gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})",
    "GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "Slack token": r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    "Google key": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "JSON web token": r"\beyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{10,}",
    "URL with a password": r"\bhttps?://[^\s/:@]+:[^\s/:@]{6,}@(?!127\.|localhost)",
}
ASSIGNED = re.compile(
    r"(?i)\b\w*(?:api_?key|secret|(?<!max_)token|passw(?:or)?d)\w*[\"']?\s*[:=]\s*[\"']([A-Za-z0-9+/_=-]{20,})[\"']"
)
HOMES = "|".join(("home/[a-z][a-z0-9_-]*/", "Users/[A-Z][A-Za-z0-9_]*/", "root/[A-Za-z0-9_]"))
MACHINE = re.compile(rf"(?<![\w.])(?:/(?:{HOMES})|[A-Z]:\\\\?Users\\)")
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
HTML_LINK = re.compile(r"\b(?:href|src)=\"([^\"]+)\"")
HEAD = 20_000
BINARY = {".safetensors", ".png", ".ico", ".pdf", ".docx", ".gz", ".zip"}


def tracked() -> list[Path]:
    """The tracked files; without git, those of a source archive."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("this is no git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def texts() -> Iterator[tuple[str, str]]:
    """Name and text of every tracked file, notebooks' outputs and prebuilt results among them; of a binary its ends."""
    for path in tracked():
        data = path.read_bytes()
        kept = data[:HEAD] + data[-HEAD:] if path.suffix in BINARY else data  # weights and pictures: where words can be
        yield path.relative_to(ROOT).as_posix(), kept.decode("utf-8", errors="replace")


def entropy(text: str) -> float:
    """Bits a character (Shannon)."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def secrets(text: str) -> list[str]:
    """What looks like a secret in a text, by kind; the secret itself is not repeated."""
    found = [kind for kind, pattern in SECRETS.items() if re.search(pattern, text)]
    assigned = [value for value in ASSIGNED.findall(text) if re.search(r"\d", value) and entropy(value) > 3.7]
    return found + ["assigned secret"] * bool(assigned)


def test_no_tracked_file_holds_a_secret():
    found = {name: kinds for name, text in texts() if (kinds := secrets(text))}
    assert found == {}


@pytest.mark.parametrize(
    "planted",
    ["hf_" + "aB3dE5" * 6, "sk-" + "proj4" * 6, "AKIA" + "A1B2C3D4E5F6G7H8", "ghp_" + "a1B2c3" * 6,
     "-----BEGIN " + "RSA PRIVATE KEY-----", "https://me:" + "hunter22" + "@example.org",
     'api_key = "' + "Zk9wQ2xR7vTt1LmN4bYc8" + '"', '"LAB_ENDPOINT_KEY_TOKEN": "' + "q8Zr2LxV5nWb7KtD1mPc" + '"'],
)  # fmt: skip
def test_a_planted_secret_is_found(planted):
    assert secrets(f"before {planted} after")


def test_what_is_no_secret_is_let_pass():
    harmless = (
        'tokenizer = "prebuilt/models/mini-granite"; LAB_ENDPOINT_KEY=; token = "a-key-of-this-test"; sk-learn-based'
        f'"setting max_tokens": "{hashlib.sha256(b"512").hexdigest()}"'
    )
    assert secrets(harmless) == []


def test_no_published_text_names_a_folder_of_a_machine():
    kept = {name: text for name, text in texts() if not name.startswith("tests/")}
    assert {name: MACHINE.findall(text) for name, text in kept.items() if MACHINE.search(text)} == {}


# ------------------------------------------------------------------------------------------------------- links


def markdown() -> Iterator[tuple[Path, str]]:
    """Every Markdown file, and the text cells of every notebook, without code."""
    for path in tracked():
        if path.suffix == ".md":
            yield path, path.read_text("utf-8")
        elif path.suffix == ".ipynb":
            cells = json.loads(path.read_text("utf-8"))["cells"]
            yield path, "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def without_code(text: str) -> str:
    """The text without fenced blocks and code spans, where brackets are no links."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"(?ms)^(```|~~~).*?^\1", "", text))


def anchors(text: str) -> set[str]:
    """The anchors of the headings, as code hosts make them."""
    plain = [
        re.sub(r"[`*]", "", line.lstrip("#")).strip().lower() for line in text.splitlines() if line.startswith("#")
    ]
    return {re.sub(r"[^\w\- ]", "", line).replace(" ", "-") for line in plain}


def dead(path: Path, text: str, root: Path = ROOT) -> list[str]:
    """The relative links of a text that lead nowhere, or out of the repository."""
    found = []
    body = without_code(text)
    for target in [*LINK.findall(body), *HTML_LINK.findall(body)]:
        if re.match(r"[a-z][a-z0-9+.-]*:|//", target, re.IGNORECASE):
            continue
        place, _, anchor = target.partition("#")
        there = (path.parent / place).resolve() if place else path
        if not there.exists() or not there.is_relative_to(root.resolve()):
            found.append(target)
        elif anchor and there.suffix == ".md" and anchor not in anchors(there.read_text("utf-8")):
            found.append(target)
    return found


def test_every_relative_link_leads_somewhere():
    broken = {path.relative_to(ROOT).as_posix(): links for path, text in markdown() if (links := dead(path, text))}
    assert broken == {}


def test_a_dead_link_is_found(tmp_path):
    page = tmp_path / "a.md"
    text = '# One two\n[x](b.md) [y](#one-two) [z](#three) `[c](no.md)` <img src="no.png"> [w](https://example.org)\n'
    page.write_text(text)
    assert dead(page, text, tmp_path) == ["b.md", "#three", "no.png"]
    (tmp_path / "b.md").write_text("# B")
    assert dead(page, "[x](b.md) [v](b.md#b) [u](../../etc)", tmp_path) == ["../../etc"]


def gone(url: str, seconds: float = 20.0) -> str:
    """Why a page of the web is not there any more; empty where it is, or where a server only turns programs away."""
    request = urllib.request.Request(url, headers={"User-Agent": "Mozilla/5.0 (link check)"})
    try:
        urllib.request.urlopen(request, timeout=seconds).close()
    except urllib.error.HTTPError as error:
        return f"{url}: {error.code}" if error.code in (404, 410) else ""
    except OSError as error:
        return f"{url}: {error}"
    return ""


def test_a_page_that_is_gone_is_told_from_one_that_turns_programs_away(tmp_path):
    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(self.path.strip("/")))
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = {code: gone(f"http://127.0.0.1:{server.server_port}/{code}") for code in (200, 403, 404, 410)}
        server.shutdown()
    assert [code for code, told in found.items() if told] == [404, 410]


@pytest.mark.skipif(not os.environ.get("LAB_LINKS"), reason="asks the network: the weekly job does this")
def test_every_link_to_the_web_leads_somewhere():
    web = re.compile(r"https://[^\s)>\"'`\]]+")
    found = {url.rstrip(".,;") for path, text in markdown() if path.suffix == ".md" for url in web.findall(text)}
    asked = sorted(url for url in found if "example." not in url and "your_account" not in url)
    assert asked and [told for told in map(gone, asked) if told] == []


# ----------------------------------------------------------------------------------------------- project files


def test_the_weekly_job_installs_nothing_pinned_and_calls_what_exists(tmp_path):
    job = yaml.safe_load((ROOT / ".github/workflows/weekly.yml").read_text())["jobs"]["newest"]
    script = "\n".join(step.get("run", "") for step in job["steps"])
    command = re.search(r"^sed .*?(?= > )", script, re.MULTILINE)
    assert command
    listed = subprocess.run(command[0], shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [line for line in listed.splitlines() if line and not line.startswith("#")]
    assert "transformers" in names and not [line for line in names if "==" in line]
    parser = cli.parser()
    for arguments in re.findall(r"-m adaptlab (.+)", script):
        parser.parse_known_args(arguments.split())
    for path in re.findall(r"tests/\w+\.py", script):
        assert (ROOT / path).is_file()


def test_citation_changelog_and_project_name_one_version():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert version and citation["version"] == version[1] and f"## {version[1]}" in (ROOT / "CHANGELOG.md").read_text()
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


def test_issue_forms_have_what_a_form_needs():
    forms = [path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"]
    assert len(forms) >= 2
    for path in forms:
        form = yaml.safe_load(path.read_text())
        assert form["name"] and form["description"]
        ids = [item["id"] for item in form["body"] if item["type"] != "markdown"]
        assert ids and len(ids) == len(set(ids))


def test_every_command_named_in_the_documents_exists():
    parser = cli.parser()
    named = set()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]:
        named |= set(re.findall(r"`(?:\S*/)?adaptlab ([a-z]+)", path.read_text("utf-8")))
    nouns = next(action for action in parser._actions if action.dest == "noun").choices
    assert {"doctor", "checkpoint", "guide", "brief"} <= named and named <= set(nouns)
