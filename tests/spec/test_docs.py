"""Every documented command and code block runs, in the order of its page, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\((?!https?://)([^)#]+)\)")


@pytest.mark.parametrize("page", [p for p in PAGES if BLOCK.search(p.read_text())], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_block_of_a_page_runs(page, tmp_path):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for kind, block in BLOCK.findall(page.read_text()):
        if kind == "bash" and block.startswith("make "):
            targets = set(re.findall(r"^make (\S+)", block, re.M))
            assert targets <= set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.M))
            continue
        command = ["bash", "-euo", "pipefail", "-c", block] if kind == "bash" else [sys.executable, "-c", block]
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, f"{block}\n{result.stdout}\n{result.stderr}"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("maker, files", [("make_reference.py", "reference/**/*.*"), ("make_plots.py", "explanation/*.svg")])
def test_what_is_made_of_the_code_and_the_tables_is_up_to_date(maker, files):
    before = {path: path.read_bytes() for path in (ROOT / "docs").glob(files)}
    subprocess.run([sys.executable, ROOT / "docs" / maker], check=True)
    assert before and before == {path: path.read_bytes() for path in (ROOT / "docs").glob(files)}
