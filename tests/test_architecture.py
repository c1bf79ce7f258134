"""The house rules, kept by machine: imports run one way, files and functions stay short.

The tables say what each part of ``src/deltarule`` may import. A part without a row fails, so that
a new one is placed on purpose.
"""

import ast
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "deltarule"
LONGEST_FILE, LONGEST_FUNCTION = 400, 40  # lines; of a function, those of code

LEAVES = {"errors", "seeds", "choices", "cache", "interrupt"}
ENGINE = LEAVES | {"network", "learning", "data"}
STORED = ENGINE | {
    "committee",
    "committee_members",
    "committee_training",
    "storage",
    "files",
    "runs",
    "training",
    "race",
    "tuning",
}

MAY_IMPORT = {  # what a part may import of ours, besides itself
    **{leaf: set() for leaf in LEAVES},
    "textbook": set(),
    "data": LEAVES,
    "plots": LEAVES,
    "network": LEAVES,
    "learning": LEAVES | {"network", "data"},
    "storage": LEAVES,
    "committee": ENGINE,
    "committee_members": ENGINE | {"committee"},
    "files": LEAVES | {"network", "storage", "committee", "data"},
    "runs": LEAVES | {"network", "storage"},
    "race": ENGINE,
    "committee_training": STORED - {"committee_training"},
    "training": ENGINE | {"storage", "files", "runs"},
    "tuning": ENGINE | {"storage", "files", "runs", "training"},
    "__init__": STORED | {"textbook", "plots", "estimators"},
    "estimators": ENGINE | {"committee", "plots"},
    "papers": STORED | {"textbook", "plots", "__init__"},
    "cli": STORED | {"textbook", "plots", "__init__", "papers"},
    "__main__": {"cli"},
}

ANY = None
MAY_USE = {  # what a part may import of others
    "errors": set(),
    "choices": set(),
    "seeds": {"numpy"},
    "cache": {"pooch"},
    "interrupt": set(),
    "textbook": {"numpy"},
    "data": {
        "numpy",
        "sklearn",
        "pooch",
        "requests",
        "urllib3",
        "jax",
        "scipy",
        "PIL",
        "pyarrow",
    },
    "plots": {"numpy", "matplotlib"},
    "network": {"numpy", "jax", "deltarule_native"},
    "learning": {"numpy", "jax", "optax", "sklearn", "scipy"},
    "storage": {"numpy", "safetensors"},
    "committee": {"numpy", "jax", "scipy"},
    "committee_members": set(),
    "committee_training": set(),
    "race": {"numpy", "jax"},
    "files": {"numpy"},
    "runs": {"numpy"},
    "training": {"numpy", "jax"},
    "tuning": {"numpy", "jax", "scipy", "sklearn"},
    "estimators": {"numpy", "jax", "scipy", "sklearn", "threadpoolctl", "rich", "matplotlib"},
    "__init__": set(),
    "__main__": set(),
    "papers": ANY,
    "cli": ANY,
}

COMPANION = "deltarule_native"  # used where it is installed; a distribution of its own, in native/


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
CODE = [
    path
    for folder in ("src", "benchmarks", "tools")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def part(module):
    """Return the part of the package that ``module`` belongs to: the name after deltarule."""
    return module.split(".")[1] if "." in module else "__init__"


def parsed(path):
    return ast.parse(path.read_text("utf-8"))


def imports(tree, *, types=True):
    """Return every module that ``tree`` imports, anywhere in it.

    ``types=False`` leaves out what only a type checker sees.
    """
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports say the whole name"
            found += [source_of(node.module, alias.name) for alias in node.names]
        if isinstance(node, ast.If) and not types and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)
    return found


def source_of(module, name):
    """Return the module that ``from module import name`` reads."""
    return f"{module}.{name}" if f"{module}.{name}" in SOURCES else module


def ours(modules):
    return {m for m in modules if m.split(".")[0] == "deltarule"}


def others(modules):
    return {m.split(".")[0] for m in modules} - {"deltarule"} - sys.stdlib_module_names


def cycle(graph):
    """Return a cycle of ``graph``, a list of names, or None."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


# Imports.


def test_every_part_has_a_row_and_every_row_a_part():
    parts = {part(module) for module in SOURCES}
    assert parts == set(MAY_IMPORT)
    assert parts == set(MAY_USE)


def test_the_table_itself_runs_one_way():
    assert cycle(MAY_IMPORT) is None


@pytest.mark.parametrize("module", SOURCES)
def test_imports_run_one_way(module):
    home = part(module)
    used = {part(each) for each in ours(imports(parsed(SOURCES[module])))}
    assert used <= MAY_IMPORT[home] | {home}


@pytest.mark.parametrize("module", SOURCES)
def test_each_part_uses_only_its_libraries(module):
    allowed = MAY_USE[part(module)]
    used = others(imports(parsed(SOURCES[module])))
    assert allowed is ANY or used <= allowed


def test_one_module_of_data_computes_with_jax():
    homes = [
        m
        for m, path in SOURCES.items()
        if part(m) == "data" and "jax" in others(imports(parsed(path)))
    ]
    assert homes == ["deltarule.data.augment"]


def test_one_module_knows_the_companion():
    uses = {m: others(imports(parsed(path))) for m, path in SOURCES.items()}
    homes = [module for module, used in uses.items() if COMPANION in used]
    assert homes == ["deltarule.network.companion.loading"]


def test_modules_import_each_other_without_cycles():
    graph = {
        module: ours(imports(parsed(path), types=False)) - {module}
        for module, path in SOURCES.items()
    }
    assert cycle(graph) is None


def test_every_library_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    required = project["dependencies"] + extras["plot"] + extras["tables"] + extras["images"]
    declared = {requirement.split(">")[0].split("[")[0].lower() for requirement in required}
    homes = packages_distributions()
    used = set().union(*(others(imports(parsed(path))) for path in SOURCES.values())) - {COMPANION}
    assert {name for name in used if not declared & {d.lower() for d in homes[name]}} == set()


HEAVY = (
    "jax", "optax", "sklearn", "scipy", "matplotlib", "pooch", "requests", "safetensors", "PIL",
    "pyarrow", "pandas",
)  # fmt: skip


@pytest.mark.parametrize(
    ("module", "loads"),
    [
        ("deltarule", ()),
        ("deltarule.cli", ()),
        ("deltarule.__main__", ()),
        ("deltarule.textbook", ()),
        ("deltarule.data", ()),
        ("deltarule.plots", ()),
        ("deltarule.runs", ("safetensors",)),
        ("deltarule.network", ("jax", "scipy")),  # jax loads scipy
        ("deltarule.learning", ("jax", "scipy", "optax")),
        ("deltarule.files", ("jax", "scipy", "safetensors")),
    ],
)
def test_importing_loads_no_more_than_it_must(module, loads):
    code = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"
    path = {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(ast.literal_eval(done.stdout)) <= set(loads)


# Sizes and docstrings.


def functions(tree):
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def code_lines(function, text):
    """Return how many lines of the body are code: not docstring, comment or blank."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body:
        return 0
    lines = text.splitlines()[body[0].lineno - 1 : function.end_lineno]
    return sum(1 for line in lines if line.strip() and not line.strip().startswith("#"))


def short(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", CODE, ids=short)
def test_files_and_functions_are_short(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    lengths = {f.name: code_lines(f, text) for f in functions(ast.parse(text))}
    assert {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION} == {}


def public_without_docstring(tree):
    """Return the public names of a module and of its classes that say nothing of themselves."""
    documented = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [] if ast.get_docstring(tree) else ["the module"]
    for scope in [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]:
        if getattr(scope, "name", "").startswith("_"):
            continue
        names = [node for node in scope.body if isinstance(node, documented)]
        found += [n.name for n in names if n.name[0] != "_" and not ast.get_docstring(n)]
    return found


@pytest.mark.parametrize("module", SOURCES)
def test_public_names_say_what_they_are(module):
    assert public_without_docstring(parsed(SOURCES[module])) == []


# The rules are themselves checked.


def test_imports_are_found_wherever_they_stand():
    code = """
import a.b, c
from deltarule import network, Dataset
from deltarule.network import layers, Dense
if TYPE_CHECKING:
    import typed
else:
    import not_typed
class C:
    def f(self):
        try:
            import deep
        except ImportError:
            from d.e import f
"""
    found = set(imports(ast.parse(code)))
    assert found == {
        "a.b", "c", "d.e", "deep", "typed", "not_typed", "deltarule", "deltarule.network",
        "deltarule.network.layers",
    }  # fmt: skip
    assert found - set(imports(ast.parse(code), types=False)) == {"typed"}
    assert ours(found) == {"deltarule", "deltarule.network", "deltarule.network.layers"}
    assert others([*found, "os.path", "json"]) == {"a", "c", "d", "deep", "typed", "not_typed"}
    with pytest.raises(AssertionError, match="the whole name"):
        imports(ast.parse("from . import network"))


def test_a_cycle_is_found():
    assert set(cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}
    assert cycle({"a": {"b", "c"}, "b": {"c"}}) is None


def test_lines_of_code_are_counted():
    text = '''
def f(a,
      b):
    """One.

    Two.
    """
    # three

    c = (a +
         b)
    return c
'''
    (function,) = functions(ast.parse(text))
    assert code_lines(function, text) == 3


def test_a_missing_docstring_is_found():
    code = """
def f(): pass
def _g(): pass
class C:
    def m(self): pass
    def __len__(self): pass
class _D:
    def m(self): pass
"""
    assert public_without_docstring(ast.parse(code)) == ["the module", "f", "C", "m"]
