"""A scripted teacher for every flow: each reply is a function of what was asked, so that a wrong pairing shows."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable
from typing import Any

import pandas as pd
from fault_helpers import ChatServer, completion

PLACES = re.compile(r"Place \d+")


def passages(count: int) -> pd.DataFrame:
    """Passages that each state two facts of their own."""
    lines = [
        (f"c{i}", f"Atlas > Place {i}", f"Place {i} has {i + 3} gates. Its tower is {i + 40} feet high.")
        for i in range(count)
    ]
    return pd.DataFrame(lines, columns=["chunk_id", "title", "document"])


def gates(name: str) -> str:
    """The true answer about a place."""
    return f"{name} has {int(name.split()[1]) + 3} gates."


def tower(name: str) -> str:
    """The other true answer about a place."""
    return f"The tower of {name} is {int(name.split()[1]) + 40} feet high."


def truth(question: str) -> str:
    """The answer that belongs to a question of the scripted teacher."""
    name = PLACES.search(question)[0]  # type: ignore[index]
    return gates(name) if "gates" in question else tower(name)


def pairs(name: str, form: str, quote: bool = False) -> str:
    """Both facts of a place, in the tags of the lab's flows."""
    written = ""
    for what, answer in (("gates", gates(name)), ("tower", tower(name))):
        question = f"By the {form}, what of the {what} of {name}?"
        written += f"<subject>{name}: {what}</subject>\n<question>{question}</question>\n<answer>{answer}</answer>\n"
        written += f"<quote>{answer}</quote>\n" if quote else ""
    return written


def scripted(prompt: str, request: dict) -> str:
    """What a teacher that follows each flow's prompts would say."""
    name = PLACES.findall(prompt)[-1]
    if "copied word for word from the passage" in prompt:
        return "Here they are:\n" + pairs(name, "passage", quote=True) + "I hope this helps."
    if "List the key facts" in prompt:
        return f"<summary>\n1. {gates(name)} (key facts)\n2. {tower(name)}\n</summary>"
    if "Copy from the passage" in prompt:
        return f"<summary>{gates(name)} (extract) {tower(name)}</summary>"
    if "Write a detailed summary" in prompt:
        return f"Gladly. <summary>It is said (detail): {gates(name)} {tower(name)}</summary>"
    if "teach what the text below says" in prompt:
        return pairs(name, re.search(r"\((key facts|extract|detail)\)", prompt)[1])  # type: ignore[index]
    if "in 3 other ways" in prompt:
        what = "gates" if "gates" in prompt else "tower"
        return "\n".join(f"<question>Way {n}: what of the {what} of {name}?</question>" for n in (1, 2, 3))
    if "does not\nanswer" in prompt:
        return "".join(
            f"<subject>{name}: {what}</subject><question>What of the {what} of {name}?</question><missing>m</missing>\n"
            for what in ("gates", "king", "price")
        )
    if "write exactly:" in prompt:
        return truth(prompt.rpartition("Question:")[2]) if "gates of" in prompt else "The passage does not say."
    if prompt.startswith("Write a question and its answer for each fact"):
        return "\n".join(pairs(name, "form").strip().splitlines())
    return knowledge_tuning(prompt, name)


def knowledge_tuning(prompt: str, name: str) -> str:
    """What a teacher says to the prompts of SDG Hub's own flow; its judge does not believe in towers over 49 feet."""
    if prompt.startswith("Develop a series"):
        return "".join(f"[QUESTION]\nWhat of the {what} of {name}?\n[END]\n" for what in ("gates", "tower"))
    if prompt.startswith("Answer the question based"):
        return truth(prompt.rpartition("Question:")[2])
    assert prompt.startswith("Determine if"), prompt
    said = prompt.rpartition("[Start of Response]")[2]
    verdict = "NO" if "tower" in said and int(re.findall(r"\d+", said)[-1]) > 49 else "YES"
    explanation = f"[Start of Explanation]\nIt says: {said.split('[End')[0].strip()}\n[End of Explanation]"
    return f"{explanation}\n[Start of Answer]\n{verdict}\n[End of Answer]"


def frozen(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain data, to compare."""
    return rows.to_dict("records")


def digest(rows: pd.DataFrame) -> str:
    """A hash of all rows, in order."""
    return hashlib.sha256(json.dumps(frozen(rows), sort_keys=True).encode()).hexdigest()


class FastServer:
    """A chat endpoint that keeps connections open and answers within a millisecond or after `latency` seconds.

    `answer(prompt, request)` is as in `ChatServer`, but for texts only.
    """

    def __init__(self, answer: Callable[[str, dict], str], latency: float = 0.0) -> None:
        self.answer, self.latency, self.calls = answer, latency, 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1"
        self.stopped = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self.stopped.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while (request := _read(stream)) is not None:
                self.calls += 1
                if self.latency and self.stopped.wait(self.latency):
                    return
                body = completion([self.answer(request["messages"][-1]["content"], request)])
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                try:
                    connection.sendall(head.encode() + body)
                except OSError:
                    return

    def close(self) -> None:
        """Stop serving."""
        self.stopped.set()
        self.listener.close()

    def __enter__(self) -> FastServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read(stream: Any) -> dict | None:
    """The JSON body of the next request of a connection; None at its end."""
    length = 0
    try:
        line = stream.readline()
        while line not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            line = stream.readline()
        return json.loads(stream.read(length)) if line and length else None
    except (OSError, ValueError):  # the other side was killed in the middle of a request
        return None


class Shaky(ChatServer):
    """Answers as `answer` does, but a share of its calls meets a fault, and some replies are no good."""

    FAULTS = (429, 500, 503, b"<html>oops</html>", b'{"choices": []}', None, "I cannot help with that.", "cut")

    def __init__(self, answer: Callable[[str, dict], str], share: float, seed: int) -> None:
        self.share, self.seed, self.met, self.asked = share, seed, [], {}
        self.good = answer
        super().__init__(self.fare)

    def fare(self, prompt: str, request: dict) -> Any:
        """The right reply, or a fault that the prompt's n-th call always meets."""
        import random

        with self.lock:
            count = self.asked[prompt] = self.asked.get(prompt, 0) + 1
        chance = random.Random(f"{self.seed} {count} {prompt}")
        if chance.random() >= self.share:
            return self.good(prompt, request)
        fault = chance.choice(self.FAULTS)
        with self.lock:
            self.met.append(fault)
        text = self.good(prompt, request)
        return text[: 2 * len(text) // 3] if fault == "cut" else fault
