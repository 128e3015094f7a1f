#!/usr/bin/env python3
"""Holds the #includes of src/ against the layers.

What a folder may include is said once, in the DEPS of its phalanx_module in CMakeLists.txt; BOUNDS below says how far
those DEPS may go at all, so that no change of CMakeLists.txt can turn the house upside down. Checked as well: no cycles
between folders, library headers only where the library is wrapped, collectives only where the design allows them.

usage: check_layers.py [REPOSITORY]
"""

import pathlib
import re
import sys

# Root folder -> root folders that its modules may use besides itself. "serve" and "compute" never see each other.
BOUNDS = {
    "base": set(),
    "config": {"base"},
    "tensor": {"base"},
    "plan": {"config", "base"},
    "parallel": {"tensor", "config", "base"},
    "serve": {"plan", "config", "base"},
    "compute": {"plan", "parallel", "tensor", "config", "base"},
    "testing": {"plan", "parallel", "serve", "compute", "tensor", "config", "base"},
}
# Folders above every layer: wire everything, and are included by nobody but (testing) tests.
TOPS = ("app", "testing")

# Header of a library -> the only places that may include it.
LIBRARIES = {
    r"boost/": ("serve/http/", "app/"),
    r"prometheus/": ("serve/api/",),
    r"spdlog/": ("base/",),
    r"nlohmann/": ("base/json", "serve/text/"),
    r"hwloc": ("base/topology",),
    r"CLI/": ("app/",),
}
# Our own headers -> the only places that may include them. The first pattern that fits counts.
OWN_HEADERS = [
    (r"phx_text\.h", ("serve/text/",)),
    (r"parallel/comm/communicator\.h", ("parallel/", "compute/", "testing/")),
    (r"parallel/comm/", ("parallel/", "compute/worker/", "testing/", "app/")),
]
COLLECTIVE = re.compile(r"(?:\.|->)(AllReduce|AllGatherV|ReduceScatterV|AllToAllV|Broadcast)\(")
COLLECTIVES_IN = (
    "parallel/",
    "compute/layers/linear.cc",
    "compute/layers/embedding.cc",
    "compute/layers/lm_head.cc",
    "compute/layers/token_dispatcher",
    "compute/layers/context_parallel",
)

MODULE = re.compile(r"phalanx_module\((\w+)\s+DIR\s+src/(\S+)\s+(?:RECURSE\s+)?DEPS\s+([^)]*)\)")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include\s+(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)


def read_modules(cmake_lists):
    """CMakeLists.txt -> {folder: set of folders it may include}, folders relative to src/."""
    found = {name: (folder, deps.split()) for name, folder, deps in MODULE.findall(cmake_lists)}
    return {
        folder: {found[dep][0] for dep in deps if dep in found} for folder, deps in found.values()
    }


def folder_of(path, modules):
    """The module folder that a path relative to src/ lies in; its root folder if none."""
    parts = path.split("/")[:-1]
    for length in range(len(parts), 0, -1):
        if "/".join(parts[:length]) in modules:
            return "/".join(parts[:length])
    return parts[0] if parts else ""


def is_test(path):
    return re.search(r"_test\.(cc|h)$|_for_test\.|_test_support\.", path) is not None


def check_bounds(modules):
    for folder, deps in sorted(modules.items()):
        root = folder.split("/")[0]
        for dep in sorted(deps):
            dep_root = dep.split("/")[0]
            if dep_root != root and dep_root not in BOUNDS.get(root, set()):
                yield f"CMakeLists.txt: src/{folder} may not depend on src/{dep}"


def check_cycles(edges):
    """edges: {folder: set of folders}. Yields one message per folder that reaches itself."""
    state = {}

    def visit(folder, path):
        if state.get(folder) == "done":
            return None
        if folder in path:
            return path[path.index(folder):] + [folder]
        for dep in sorted(edges.get(folder, ())):
            cycle = visit(dep, path + [folder])
            if cycle:
                return cycle
        state[folder] = "done"
        return None

    for folder in sorted(edges):
        cycle = visit(folder, [])
        if cycle:
            yield "a cycle between folders: " + " -> ".join(cycle)
            return


def matches(path, places):
    return any(path.startswith(place) for place in places)


def check_include(path, included, is_system, modules):
    """The complaint about one #include, or None. Paths are relative to src/."""
    if is_system:
        for pattern, places in LIBRARIES.items():
            if re.match(pattern, included) and not matches(path, places):
                return f"<{included}> belongs to {', '.join(places)} alone"
        return None
    for pattern, places in OWN_HEADERS:
        if re.match(pattern, included):
            if not matches(path, places) and not (is_test(path) and not included.startswith("phx_text")):
                return f'"{included}" belongs to {", ".join(places)} alone'
            return None
    mine, theirs = folder_of(path, modules), folder_of(included, modules)
    if theirs == mine or mine in TOPS or "/" not in included:
        return None
    if theirs == "testing" and is_test(path):
        return None
    if theirs in TOPS:
        return f'nothing may include "{included}" from below'
    if theirs not in modules.get(mine, set()):
        return f'src/{mine} may not include "{included}" (CMakeLists.txt does not list src/{theirs} in its DEPS)'
    return None


def check_tree(root):
    """Yields every complaint about the repository at `root`."""
    source = root / "src"
    modules = read_modules((root / "CMakeLists.txt").read_text())
    yield from check_bounds(modules)
    edges = {}
    for file in sorted([*source.rglob("*.cc"), *source.rglob("*.h"), *source.rglob("*.inc")]):
        path = file.relative_to(source).as_posix()
        text = file.read_text()
        for match in INCLUDE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            included = match.group(1) or match.group(2)
            complaint = check_include(path, included, match.group(1) is None, modules)
            if complaint:
                yield f"src/{path}:{line}: {complaint}"
            if match.group(1) and "/" in included and not is_test(path):
                mine, theirs = folder_of(path, modules), folder_of(included, modules)
                if mine != theirs:
                    edges.setdefault(mine, set()).add(theirs)
        if not is_test(path) and not matches(path, COLLECTIVES_IN):
            for match in COLLECTIVE.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                yield f"src/{path}:{line}: {match.group(1)} may be called only in {', '.join(COLLECTIVES_IN)}"
    yield from check_cycles(edges)


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent)
    complaints = list(check_tree(root))
    for complaint in complaints:
        print(complaint)
    print(f"layers: {len(complaints)} {'complaint' if len(complaints) == 1 else 'complaints'}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
