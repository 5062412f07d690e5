#!/usr/bin/env python3
"""checkov over infra/, without the network. Suppressions stand inline with their reasons.

A file that its parser does not know would be skipped in silence, so that fails too. `main.bicep` is the one exception: its user-defined
types are newer than the parser, and it declares nothing but a resource group.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_PARSED = {"main.bicep"}

command = [str(Path(sys.executable).with_name("checkov")), "--directory", "infra", "--framework", "bicep", "--skip-download", "--output", "json"]
run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
try:
    report = json.loads(run.stdout)
except json.JSONDecodeError:
    sys.exit(f"checkov gave no report:\n{run.stdout}\n{run.stderr}")

failed = report["results"]["failed_checks"]
for check in failed:
    lines = "-".join(str(line) for line in check["file_line_range"])
    print(f"infra{check['file_path']}:{lines}: {check['check_id']} {check['resource']}: {check['check_name']}")
not_parsed = {Path(path).name for path in report["results"]["parsing_errors"]}
for name in sorted(not_parsed - NOT_PARSED):
    print(f"{name}: checkov cannot parse it, so nothing in it is checked")

summary = report["summary"]
print(f"checkov: {summary['passed']} passed, {summary['failed']} failed, {summary['skipped']} suppressed with a reason")
if summary["passed"] == 0:
    sys.exit("checkov checked nothing")
sys.exit(1 if failed or not_parsed - NOT_PARSED else 0)
