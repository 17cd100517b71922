"""Who may import whom, read from the source, so that it holds without a linter too."""

import ast
import subprocess
import sys
from collections.abc import Collection, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import domain_embed_pipeline

PACKAGE = Path(domain_embed_pipeline.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {
    "anthropic", "bm25s", "datasets", "faiss", "matplotlib", "qdrant_client", "scipy", "sentence_transformers", "torch",
    "transformers",
}  # fmt: skip
SHELL = ("defs", "definitions")
LEAVES = {"artifacts", "records", "ids", "errors", "sequences", "settings", "sqlite_files", "tables"}
# A room, and the rooms that it may import from. encoding and registry serve all; evaluation's measures are what
# training is steered by and what serving is verified with.
ALLOWED = {
    "corpus": set(),
    "questions": {"corpus"},
    "encoding": set(),
    "registry": {"encoding"},
    "evaluation": {"encoding"},
    "pairs": {"corpus", "encoding", "questions", "evaluation"},
    "training": {"encoding", "registry", "evaluation"},
    "serving": {"encoding", "registry", "evaluation"},
    "alternatives": {"corpus", "encoding", "evaluation", "pairs", "registry"},
    "drops": {"corpus", "evaluation", "pairs", "serving", "workspace"},
    "bench": {
        "corpus",
        "drops",
        "encoding",
        "evaluation",
        "pairs",
        "questions",
        "registry",
        "serving",
        "training",
        "workspace",
    },
}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def _imports(path: Path, *, module_level: bool) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    in_functions = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only or (module_level and id(node) in in_functions):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_only_the_shell_imports_dagster(path: Path) -> None:
    if _name(path).split(".")[0] not in SHELL:
        assert not [name for name in _imports(path, module_level=False) if name.split(".")[0] == "dagster"]


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_heavy_libraries_are_not_imported_at_module_level(path: Path) -> None:
    assert not [name for name in _imports(path, module_level=True) if name.split(".")[0] in HEAVY]


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    allowed = ALLOWED[room] | LEAVES | {room}
    for path in sorted((PACKAGE / room).rglob("*.py")):
        ours = [name.split(".") for name in _imports(path, module_level=False) if name.startswith(PACKAGE.name + ".")]
        wrong = [".".join(parts) for parts in ours if parts[1] not in allowed]
        assert not wrong, f"{_name(path)} imports {wrong}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Not within functions or for type checkers either: a circle that is only hidden is still one."""
    modules = {f"{PACKAGE.name}.{_name(path)}".removesuffix(".__init__"): path for path in MODULES}
    graph = {name: set(_imported_modules(path, modules.keys())) for name, path in modules.items()}
    TopologicalSorter(graph).prepare()


def _imported_modules(path: Path, ours: Collection[str]) -> Iterator[str]:
    """Modules of ours: `from room import name` means the module of that name where there is one, else the room."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in ours)
        elif isinstance(node, ast.ImportFrom) and (room := node.module or "") in ours:
            names = (f"{room}.{alias.name}" for alias in node.names)
            yield from (name if name in ours else room for name in names)


def test_every_room_says_what_does_not_belong_there() -> None:
    for room in ALLOWED:
        docstring = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))) or ""
        assert "does not" in docstring, room


def test_definitions_load_in_a_fresh_interpreter_without_heavy_libraries() -> None:
    code = (
        "import sys, domain_embed_pipeline.definitions as d; d.defs.resolve_all_job_defs(); "
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert result.stdout.strip() == "[]"
