"""Who may import whom (DESIGN: the missing edges are the security argument), and bare tasks."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "workunits": set(),
    "validators": {"workunits"},
    "sandbox": {"workunits"},
    "tracker": {"workunits", "validators"},
    "client": {"workunits", "sandbox", "validators"},
    "simulator": {"workunits", "validators", "tracker"},
    "openswarm": {"workunits", "validators", "sandbox", "tracker", "client", "simulator"},
}
PURE_TRACKER = {f"tracker.{name}" for name in ("garbage", "ledger", "network", "rows", "work")}
IMPORTERS = {"import_module", "importlib.import_module", "__import__"}
TASKS = {"create_task", "ensure_future"}


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """The top-level names of everything that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in IMPORTERS:
            names = [each.value for each in node.args[:1] if isinstance(each, ast.Constant)]
            yield from (str(name).partition(".")[0] for name in names)


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_the_design_allows(package: str) -> None:
    found = sources(package)
    assert found
    for path in found:
        ours = set(imported(ast.parse(path.read_text()))) & set(ALLOWED)
        extra = ours - ALLOWED[package] - {package}
        assert not extra, f"{path.relative_to(ROOT)} imports {', '.join(sorted(extra))}"


@pytest.mark.parametrize("package", ALLOWED)
def test_no_package_imports_the_tests(package: str) -> None:
    for path in sources(package):
        assert "tests" not in set(imported(ast.parse(path.read_text())))


def test_the_allowed_edges_have_no_circle() -> None:
    done: set[str] = set()
    while ready := [name for name in ALLOWED if name not in done and ALLOWED[name] <= done]:
        done |= set(ready)
    assert done == set(ALLOWED)


def test_the_vocabulary_opens_no_socket_and_no_database() -> None:
    forbidden = {"socket", "sqlite3", "aiohttp", "asyncio", "time", "random", "subprocess"}
    for package in ("workunits", "validators"):
        for path in sources(package):
            used = set(imported(ast.parse(path.read_text())))
            assert not used & forbidden, path


def test_the_simulator_runs_the_pure_part_of_the_tracker_without_clock_or_socket() -> None:
    forbidden = {"socket", "sqlite3", "aiohttp", "asyncio", "time", "subprocess"}
    for path in sources("simulator"):
        tree = ast.parse(path.read_text())
        assert not set(imported(tree)) & forbidden, path
        modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        of_tracker = {".".join(name.split(".")[:2]) for name in modules if name[:7] == "tracker"}
        assert of_tracker <= PURE_TRACKER, path


def bare_tasks(tree: ast.AST) -> Iterator[int]:
    """Lines that start a task which no group awaits."""
    groups = {
        item.optional_vars.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncWith)
        for item in node.items
        if isinstance(item.optional_vars, ast.Name)
        and "TaskGroup" in ast.unparse(item.context_expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            if name not in TASKS:
                continue
            owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
            on_loop = owner == "asyncio" or "loop" in owner
            if not owner or name == "ensure_future" or (on_loop and owner not in groups):
                yield node.lineno


@pytest.mark.parametrize("folder", [*ALLOWED, "bench", "examples"])
def test_nobody_starts_a_task_that_nobody_awaits(folder: str) -> None:
    for path in sources(folder):
        lines = list(bare_tasks(ast.parse(path.read_text())))
        assert not lines, f"{path.relative_to(ROOT)}: {lines}"


@pytest.mark.parametrize(
    "code",
    [
        "asyncio.create_task(x())",
        "create_task(x())",
        "asyncio.ensure_future(x())",
        "loop.create_task(x())",
        "asyncio.get_running_loop().create_task(x())",
    ],
)
def test_a_bare_task_would_be_found(code: str) -> None:
    assert list(bare_tasks(ast.parse(code))) == [1]
    grouped = "async def f():\n async with asyncio.TaskGroup() as g:\n  g.create_task(x())"
    assert not list(bare_tasks(ast.parse(grouped)))
