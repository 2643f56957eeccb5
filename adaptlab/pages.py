"""Markdown as one HTML page: printable, without scripts, with nothing from a network; raw HTML in it stays text."""

from __future__ import annotations

import html

from adaptlab.inert import inert
from adaptlab.report import POLICY

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2430; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 1.6rem; } h3 { font-size: 1rem; margin-bottom: 0.2rem; }
table { border-collapse: collapse; width: 100%; } li { margin: 0.15rem 0; }
body { overflow-wrap: anywhere; } pre { overflow-x: auto; overflow-wrap: normal; }
th, td { overflow-wrap: break-word; }
@media (max-width: 700px) {
  body { font-size: 15px; } table { display: block; overflow-x: auto; } th, td { min-width: 5rem; }
}
th, td { text-align: left; padding: 0.25rem 0.8rem 0.25rem 0; border-bottom: 1px solid #dfe3ea; vertical-align: top; }
@media print {
  @page { size: A4; margin: 12mm; }
  body { font-size: 8.5pt; line-height: 1.22; max-width: none; margin: 0; padding: 0; }
  h1 { font-size: 14pt; margin: 0; } h2 { font-size: 11pt; margin: 0.4rem 0 0.1rem; break-after: avoid; }
  tr, li { break-inside: avoid; } ul, p, table { margin: 0.15rem 0; }
  th, td { padding: 0.05rem 0.6rem 0.05rem 0; } li { margin: 0; }
}
"""


def page(markdown: str, title: str) -> str:
    """One page. Whatever a model or a document wrote into `markdown` is shown as text, never run."""
    import mistune

    body = mistune.create_markdown(escape=True, plugins=["table"])(inert(markdown))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{html.escape(inert(title))}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
