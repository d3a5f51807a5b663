"""What mkdocs does with links that leave docs/: a source file becomes a page of the site.

Pages link to code as `[`prototype_contrast`](../simmc/losses/mpc.py)`, which works on a code host
and in an editor. On the site the link goes to a page with the file, at the line where the name is
defined.
"""

import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\[([^\]]*)\]\((\.\./[^)#\s]+)\)")
LANGUAGES = {".py": "python", ".toml": "toml", ".sh": "bash", ".json": "json"}


def defined_at(name: str, source: str) -> int:
    """The line (from 1) that defines `name`, or the last part of `Class.name`; 1 without any."""
    last = re.escape(name.split("(")[0].rsplit(".", 1)[-1])
    found = re.search(rf"^[ \t]*(?:def |class |){last}\b(?=[ \t]*[\[(:=])", source, re.M)
    return source.count("\n", 0, found.start()) + 1 if found else 1


def target_of(path: str) -> Path:
    """The file or folder of the repository that a link `../path` of docs/ names."""
    return (ROOT / "docs" / path).resolve()


def page_of(target: Path) -> str:
    """Where the page of a source file lies on the site."""
    return f"source/{target.relative_to(ROOT).as_posix()}.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every source file or folder that some page links to."""
    pages = [file for file in files if file.is_documentation_page()]
    linked = {target_of(path) for file in pages for _, path in LINK.findall(file.content_string)}
    for target in sorted(linked):
        files.append(File.generated(config, page_of(target), content=shown(target)))
    return files


def shown(target: Path) -> str:
    """Markdown of a source file with numbered lines, or of the list of files of a folder."""
    title = f"# {target.relative_to(ROOT).as_posix()}\n\n"
    head = "---\nhide: [toc]\nsearch:\n  exclude: true\n---\n\n" + title
    if target.is_dir():
        names = sorted(file.name for file in target.iterdir() if not file.name.startswith("__"))
        return head + "\n".join(f"- `{name}`" for name in names) + "\n"
    text = target.read_text(encoding="utf-8")
    language = LANGUAGES.get(target.suffix, "text")
    return f'{head}````{{.{language} linenums="1"}}\n{text}````\n'


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to source files into links to their pages."""

    def replaced(match: re.Match[str]) -> str:
        text, target = match[1], target_of(match[2])
        up = "../" * len(PurePosixPath(page.file.src_uri).parent.parts)
        anchor = ""
        if target.suffix == ".py":
            line = defined_at(text.strip("`"), target.read_text(encoding="utf-8"))
            anchor = f"#__codelineno-0-{line}" if line > 1 else ""
        return f"[{text}]({up}{page_of(target)}{anchor})"

    return LINK.sub(replaced, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> None:
    """Let mkdocs know the line numbers of a source file, which it does not count as anchors."""
    if page.present_anchor_ids is not None:
        page.present_anchor_ids |= set(re.findall(r'id="(__codelineno-[\d-]+)"', html))
