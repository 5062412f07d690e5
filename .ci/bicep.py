#!/usr/bin/env python3
"""What the Bicep compiler would say, as far as a grammar tells: the compiler itself is in no registry that this runs against.

Fails on: a file that does not parse; a name that is declared nowhere, or declared and never used; a module's parameter that is
missing or unknown; an output that does not exist; a wrong target scope; a preview api-version; two versions of one resource type; the host name of
a cloud in a string; a key or secret in an output; `listKeys` outside of the one place that needs it.
"""

import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import tree_sitter_bicep
from tree_sitter import Language, Parser

ROOT = Path(__file__).resolve().parent.parent / "infra"
PARSER = Parser(Language(tree_sitter_bicep.language()))

FUNCTIONS = set(
    """array bool contains deployer empty environment filter first flatten guid int join json last length listKeys map min max
    newGuid range readEnvironmentVariable replace resourceGroup resourceId split startsWith endsWith string subscription
    subscriptionResourceId substring take skip tenant toLower toUpper trim union uniqueString""".split()
)
DECORATORS = {"description", "secure", "allowed", "minLength", "maxLength", "minValue", "maxValue", "batchSize", "export"}

# The one stable version, 2016-09-01, knows a single setting of the fixed name `service`, so it would overwrite one that somebody else
# made; Microsoft's own modules use this one (Azure Verified Modules).
PREVIEWS = {"Microsoft.Insights/diagnosticSettings@2021-05-01-preview"}
LIST_KEYS = {"modules/action-group.bicep"}
SECRETS = {"approvalKey", "functionKey", "policySettings"}
HOSTS = re.compile(r"(windows\.net|azurewebsites\.net|azure\.com|microsoftonline\.com|azure\.us|azure\.cn|loganalytics\.io)", re.I)


class File:
    def __init__(self, path: Path, text: str):
        self.name = str(path.relative_to(ROOT))
        self.path = path
        self.root = PARSER.parse(text.encode()).root_node
        self.problems: list[str] = []
        self.scope = "resourceGroup"
        self.params: dict[str, bool] = {}  # name -> required
        self.outputs: set[str] = set()
        self.declared: Counter = Counter()
        self.used: Counter = Counter()
        self.modules: dict[str, tuple[str, dict, set, object]] = {}
        self.types: list[str] = []
        self.read(self.root)
        self.names(self.root, frozenset())

    def problem(self, node, text: str):
        line = node.start_point[0] + 1 if node is not None else 0
        self.problems.append(f"infra/{self.name}:{line}: {text}")

    def read(self, node):
        if node.is_error or node.is_missing:
            self.problem(node, f"does not parse: `{words(node)[:60]}`")
            return
        for child in node.children:
            kind = child.type
            if kind == "target_scope_assignment":
                self.scope = words(child.children[-1]).strip("'")
            elif kind == "parameter_declaration":
                name = words(child.children[1])
                nullable = any(words(part).endswith("?") for part in child.children if part.type in ("type", "nullable_type"))
                self.params[name] = not nullable and not any(part.type == "=" for part in child.children)
                self.declared[name] += 1
            elif kind in ("variable_declaration", "type_declaration"):
                self.declared[words(child.children[1])] += 1
            elif kind == "output_declaration":
                self.outputs.add(words(child.children[1]))
                for secret in SECRETS & {words(part) for part in every(child, "identifier")}:
                    self.problem(child, f"the output gives `{secret}` away")
            elif kind == "resource_declaration":
                self.declared[words(child.children[1])] += 1
                self.types.append(words(child.children[2]).strip("'"))
            elif kind == "module_declaration":
                name = words(child.children[1])
                self.declared[name] += 1
                body = next(every(child, "object"))
                entries = {words(entry.children[0]): entry.children[-1] for entry in body.children if entry.type == "object_property"}
                given = {words(entry.children[0]) for entry in entries["params"].children if entry.type == "object_property"}
                self.modules[name] = (words(child.children[2]).strip("'"), entries, given, child)
            self.read(child)
            if kind == "string_content" and HOSTS.search(words(child)):
                self.problem(child, f"`{words(child)}` is the host of one cloud; ask `environment()` or the resource")

    def names(self, node, local: frozenset):
        kind = node.type
        if kind == "for_statement":
            source = next(index for index, part in enumerate(node.children) if part.type == "in")
            kinds = ("identifier", "loop_variable", "loop_enumerator")
            own = {words(part) for head in node.children[:source] for kind in kinds for part in every(head, kind)}
            self.names(node.children[source + 1], local)
            for part in node.children[source + 2 :]:
                self.names(part, local | own)
            return
        if kind == "lambda_expression":
            arrow = next(index for index, part in enumerate(node.children) if part.type == "=>")
            heads = {words(part) for head in node.children[:arrow] for part in every(head, "identifier")}
            for part in node.children[arrow + 1 :]:
                self.names(part, local | heads)
            return
        if kind == "call_expression" and node.children[0].type == "identifier":
            function = words(node.children[0])
            if function not in FUNCTIONS | DECORATORS:
                self.problem(node, f"`{function}` is no function that is known here")
            if function == "listKeys" and self.name not in LIST_KEYS:
                self.problem(node, "`listKeys` where no key is needed")
            for part in node.children[1:]:
                self.names(part, local)
            return
        if kind == "identifier":
            name = words(node)
            if name not in local:
                self.used[name] += 1
                if name not in self.declared and not declares(node):
                    self.problem(node, f"`{name}` is declared nowhere")
            return
        children = list(node.children)
        if kind == "object_property":
            children = children[1:] if children[0].type == "identifier" else children
        elif kind in DECLARATIONS:
            children = children[2:]
        for child in children:
            self.names(child, local)


DECLARATIONS = {"parameter_declaration", "variable_declaration", "resource_declaration", "module_declaration", "output_declaration", "type_declaration"}


def declares(node) -> bool:
    """A type's name inside a type, which the grammar gives as an identifier too."""
    return node.parent is not None and node.parent.type in ("type", "array_type", "nullable_type", "union_type", "primitive_type")


def words(node) -> str:
    return node.text.decode()


def every(node, kind: str):
    if node.type == kind:
        yield node
    for child in node.children:
        yield from every(child, kind)


def check_modules(files: dict[str, File]):
    for file in files.values():
        for name, (path, entries, given, node) in file.modules.items():
            target = files.get(str((file.path.parent / path).resolve().relative_to(ROOT)))
            if target is None:
                file.problem(node, f"there is no file `{path}`")
                continue
            for missing in sorted(key for key, required in target.params.items() if required and key not in given):
                file.problem(node, f"`{path}` needs the parameter `{missing}`")
            for unknown in sorted(given - set(target.params)):
                file.problem(node, f"`{path}` has no parameter `{unknown}`")
            scope = words(entries["scope"]) if "scope" in entries else file.scope
            actual = "subscription" if scope.startswith("subscription") else "resourceGroup"
            if actual != target.scope:
                file.problem(node, f"`{path}` is for a {target.scope}, and deployed to `{scope}`")
        for access in every(file.root, "member_expression"):
            found = re.fullmatch(r"(\w+)(?:\[\w+\])?!?\.outputs\.(\w+)", words(access))
            if found and found[1] in file.modules:
                path = file.modules[found[1]][0]
                target = files.get(str((file.path.parent / path).resolve().relative_to(ROOT)))
                if target and found[2] not in target.outputs:
                    file.problem(access, f"`{path}` has no output `{found[2]}`")


def check_versions(files: dict[str, File]):
    versions = defaultdict(set)
    for file in files.values():
        for kind in file.types:
            name, version = kind.split("@")
            versions[name].add(version)
            if "preview" in version and kind not in PREVIEWS:
                file.problem(None, f"`{kind}` is a preview")
    for name, found in versions.items():
        if len(found) > 1:
            files["main.bicep"].problem(None, f"`{name}` has more than one api-version: {', '.join(sorted(found))}")


def check_parameters(main: File):
    """`.bicepparam`, which the grammar does not know: read as variables."""
    path = ROOT / "main.bicepparam"
    text = path.read_text()
    if "using './main.bicep'" not in text:
        main.problem(None, "`main.bicepparam` does not use `main.bicep`")
    body = re.sub(r"^using .*$", "", re.sub(r"^param ", "var ", text, flags=re.M), flags=re.M)
    parameters = File(path, body)
    main.problems += parameters.problems
    given = set(parameters.declared)
    for unknown in sorted(given - set(main.params)):
        main.problem(None, f"`main.bicepparam` gives `{unknown}`, which `main.bicep` does not know")
    for missing in sorted(key for key, required in main.params.items() if required and key not in given):
        main.problem(None, f"`main.bicepparam` does not give `{missing}`")


def main() -> int:
    paths = sorted(ROOT.rglob("*.bicep"))
    files = {str(path.relative_to(ROOT)): File(path, path.read_text()) for path in paths}
    called = {str((file.path.parent / call[0]).resolve().relative_to(ROOT)) for file in files.values() for call in file.modules.values()}
    for name, file in files.items():
        for declared, count in file.declared.items():
            if count > 1:
                file.problem(None, f"`{declared}` is declared {count} times")
        resources = {words(node.children[1]) for kind in ("resource_declaration", "module_declaration") for node in every(file.root, kind)}
        for unused in sorted(set(file.declared) - set(file.used) - resources):
            file.problem(None, f"`{unused}` is never used")
        if name != "main.bicep" and name not in called:
            file.problem(None, "no module calls this file")
    check_modules(files)
    check_versions(files)
    check_parameters(files["main.bicep"])
    problems = [problem for file in files.values() for problem in file.problems]
    print("\n".join(problems) if problems else f"{len(files)} Bicep files: nothing to say")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
