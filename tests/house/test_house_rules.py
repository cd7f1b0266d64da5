"""House rules that no linter knows, read from the syntax tree of every module of the product."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
APP = ROOT / "app"
MOST_LINES = 400
READS_ENVIRONMENT = {"app/kit/settings.py", "app/agent/daemon/__main__.py", "app/__main__.py"}
COMMITS = ("app/kit/", "app/agent/daemon/", "app/wire/")
"""The kit, and the rooms without a database, where the word means a checkpoint."""

SPEAKS_TO_PEOPLE = ("app/cli/", "app/agent/daemon/console")
DRAFTED = "app/schema/versions/"
FORMAT_OPTIONS = {
    "convert": {"-f", "-O"},
    "create": {"-f"},
    "info": {"-f"},
    "check": {"-f"},
    "compare": {"-f", "-F"},
    "map": {"-f"},
    "resize": {"-f"},
    "rebase": {"-f", "-F"},
    "commit": {"-f"},
    "snapshot": {"-f"},
    "measure": {"-f", "-O"},
    "dd": {"-f", "-O"},
}
"""The formats that each command of qemu-img must be told: it would guess from a stranger's content."""


@dataclass(frozen=True)
class Module:
    """A source file: its path from the root of the repository, its text and its tree."""

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)


Rule = Callable[[Module], Iterator[tuple[int, str]]]


def has_a_caption(module: Module) -> Iterator[tuple[int, str]]:
    must_be_empty = module.path in ("app/__init__.py", "app/agent/__init__.py")
    if must_be_empty and module.text:
        yield 1, "this file stays empty"
    if not must_be_empty and ast.get_docstring(module.tree) is None:
        yield 1, "the module has no docstring"


def is_not_long(module: Module) -> Iterator[tuple[int, str]]:
    lines = len(module.text.splitlines())
    if lines > MOST_LINES and not module.path.startswith(DRAFTED):
        yield lines, f"{lines} lines are more than {MOST_LINES}: split by reason to change"


def commits_in_the_kit_only(module: Module) -> Iterator[tuple[int, str]]:
    if module.path.startswith(COMMITS) or module.path == "app/schema/running.py":
        return
    for call in _calls(module):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "commit" and not call.args:
            yield call.lineno, "commit() outside of the kit: the edge that opened the unit commits"


def has_aware_times_only(module: Module) -> Iterator[tuple[int, str]]:
    for call in _calls(module):
        name = ast.unparse(call.func)
        if name.endswith(("datetime.utcnow", "datetime.utcfromtimestamp")):
            yield call.lineno, f"{name}() is naive: take the time from a clock"
        elif name.endswith(("datetime.now", "datetime.fromtimestamp")) and not _has_zone(call):
            yield call.lineno, f"{name}() without a zone is naive: take the time from a clock"


def reads_no_environment(module: Module) -> Iterator[tuple[int, str]]:
    if module.path in READS_ENVIRONMENT:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in (
            "os.environ",
            "os.getenv",
            "os.environb",
        ):
            yield node.lineno, "the environment is read by app.kit.settings alone"
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from (
                (node.lineno, "the environment is read by app.kit.settings alone")
                for name in node.names
                if name.name in ("environ", "getenv")
            )


def runs_no_shell(module: Module) -> Iterator[tuple[int, str]]:
    for call in _calls(module):
        shell = next((each.value for each in call.keywords if each.arg == "shell"), None)
        if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
            yield call.lineno, "shell=True: give the arguments as a list"
        if ast.unparse(call.func) in ("os.system", "os.popen", "asyncio.create_subprocess_shell"):
            yield call.lineno, "a shell is run: give the arguments as a list"


def prints_to_people_only(module: Module) -> Iterator[tuple[int, str]]:
    if module.path.startswith(SPEAKS_TO_PEOPLE):
        return
    for call in _calls(module):
        if isinstance(call.func, ast.Name) and call.func.id == "print":
            yield call.lineno, "print() in library code: log an event"


def states_image_formats(module: Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree):
        words = _words(node)
        if "qemu-img" not in words:
            continue
        command = next(
            (word for word in words[words.index("qemu-img") + 1 :] if word in FORMAT_OPTIONS), None
        )
        lacking = FORMAT_OPTIONS.get(command or "", {"-f"}) - set(words)
        if lacking and not {"--version", "--help"} & set(words):
            yield getattr(node, "lineno", 1), f"qemu-img {command or ''} without {', '.join(sorted(lacking))}"


RULES: list[Rule] = [
    has_a_caption,
    is_not_long,
    commits_in_the_kit_only,
    has_aware_times_only,
    reads_no_environment,
    runs_no_shell,
    prints_to_people_only,
    states_image_formats,
]


def _calls(module: Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(module.tree) if isinstance(node, ast.Call))


def _has_zone(call: ast.Call) -> bool:
    needed = 0 if ast.unparse(call.func).endswith("now") else 1
    return len(call.args) > needed or any(each.arg == "tz" for each in call.keywords)


def _words(node: ast.AST) -> list[str]:
    """The constant words of a list, a tuple or a call's arguments, in order."""
    if isinstance(node, ast.List | ast.Tuple):
        items = node.elts
    elif isinstance(node, ast.Call):
        items = node.args
    else:
        return []
    return [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]


def _modules() -> list[Module]:
    return [
        Module(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8"))
        for file in sorted(APP.rglob("*.py"))
        if "node_modules" not in file.parts
    ]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule: Rule) -> None:
    broken = [f"{module.path}:{line}: {what}" for module in _modules() for line, what in rule(module)]
    assert not broken, "\n" + "\n".join(broken)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (has_a_caption, "x = 1\n"),
        (is_not_long, '"""Long."""\n' * 401),
        (commits_in_the_kit_only, "async def f(s):\n    await s.commit()\n"),
        (has_aware_times_only, "import datetime\ndatetime.datetime.now()\n"),
        (has_aware_times_only, "from datetime import datetime\ndatetime.utcnow()\n"),
        (has_aware_times_only, "from datetime import datetime\ndatetime.fromtimestamp(1)\n"),
        (reads_no_environment, "import os\nos.environ['X']\n"),
        (reads_no_environment, "from os import environ\n"),
        (runs_no_shell, "import subprocess\nsubprocess.run('x', shell=True)\n"),
        (runs_no_shell, "import os\nos.system('x')\n"),
        (prints_to_people_only, "print('x')\n"),
        (states_image_formats, "run(['qemu-img', 'convert', '-f', 'raw', a, b])\n"),
        (states_image_formats, "run('qemu-img', 'info', a)\n"),
    ],
)
def test_each_rule_finds_what_it_looks_for(rule: Rule, text: str) -> None:
    assert list(rule(Module("app/example.py", text)))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (has_aware_times_only, "from datetime import UTC, datetime\ndatetime.now(UTC)\n"),
        (runs_no_shell, "run(['x'], shell=False)\n"),
        (states_image_formats, "run(['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', a, b])\n"),
        (states_image_formats, "run(['qemu-img', '--version'])\n"),
    ],
)
def test_each_rule_lets_the_right_way_pass(rule: Rule, text: str) -> None:
    assert not list(rule(Module("app/example.py", text)))
