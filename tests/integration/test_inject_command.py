"""`keyshepherd inject` on files: the program that $KEYSHEPHERD names, or the one of the dev build."""

import json
import os
import pathlib
import re
import subprocess
import textwrap

import pytest
import rig
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("KEYSHEPHERD", ROOT / "build/dev/keyshepherd")).resolve()

CONFIG_MAP = """\
# not ours
apiVersion: v1
kind: ConfigMap
metadata: {name: c}   # flow
data: {a: "0.10", b: 'x'}
"""

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: ai-application
  # the line that matters
  annotations:
    keyshepherd.dev/inject: holysheep
spec:
  replicas: 3   # three
  selector: {matchLabels: {app: ai}}
  template:
    metadata:
      labels: {app: ai}
    spec:
      containers:
        # the app
        - name: app
          image: "ai:0.10"
          ports: [{containerPort: 0x1F90}]
          env:
            - {name: LOG, value: "no"}
          resources:
            limits: {cpu: 0.10}
"""


IMAGE = "registry.example/keyshepherd:0.1.0"


def inject(*arguments, stdin=None, cwd=None, environment=()):
    env = {name: value for name, value in os.environ.items() if not name.startswith("KEYSHEPHERD_")} | dict(environment)
    if isinstance(stdin, str):
        stdin = stdin.encode()
    image = () if "--image" in arguments or "KEYSHEPHERD_IMAGE" in env else ("--image", IMAGE)
    done = subprocess.run(
        [PROGRAM, "inject", *map(str, arguments), *image], input=stdin if stdin is not None else b"", capture_output=True, cwd=cwd, env=env, timeout=240
    )
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


def printed(*arguments, **more):
    done = inject(*arguments, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(*arguments, **more):
    done = inject(*arguments, **more)
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == "", "nothing half-done"
    return done.stderr


def as_json(deployment=DEPLOYMENT):
    """The Deployment as JSON, with a number that a parser would print differently."""
    return json.dumps(yaml.safe_load(deployment), indent=4).replace('"replicas": 3', '"replicas": 3.0e0') + "\n"


def is_subsequence(lines, of):
    rest = iter(of)
    return all(line in rest for line in lines)


# ---- what is printed -----------------------------------------------------------------------------------------------------


def test_adds_only_lines_and_keeps_comments_and_spelling():
    out = printed("-f", "-", stdin=DEPLOYMENT)
    assert "initContainers:" in out and "keyshepherd.dev/injected:" in out and "HOLYSHEEP_API_KEY" in out
    assert is_subsequence(DEPLOYMENT.splitlines(), out.splitlines())


def test_the_seeds_vault_reference_is_wired():
    text = DEPLOYMENT.replace('{name: LOG, value: "no"}', "name: HOLYSHEEP_API_KEY  # key\n              value: vault:ai-apis/data/holysheep#api_key")
    out = printed("-f", "-", stdin=text)
    assert "value: vault:" not in out
    assert re.search(r"- name: HOLYSHEEP_API_KEY  # key\n\s+valueFrom:\n\s+fileKeyRef:", out)


def test_is_idempotent():
    for text in (DEPLOYMENT, CONFIG_MAP + "---\n" + DEPLOYMENT, as_json(), DEPLOYMENT.replace("\n", "\r\n"), DEPLOYMENT.rstrip("\n")):
        once = printed("-f", "-", stdin=text)
        assert once != text
        assert printed("-f", "-", stdin=once) == once
        assert printed("--diff", "-f", "-", stdin=once) == ""


def test_other_documents_pass_byte_for_byte():
    stream = "# top\n%YAML 1.1\n--- # one\n" + CONFIG_MAP + "\n\n---\n---\n" + CONFIG_MAP.replace("\n", "\r\n") + "...\n# rest\n---\n{\"kind\":\"X\",\"n\":1.0}\n"
    assert printed("-f", "-", stdin=stream) == stream
    out = printed("-f", "-", stdin=CONFIG_MAP + "---   # two\n" + DEPLOYMENT + "---\n" + CONFIG_MAP)
    assert out.startswith(CONFIG_MAP + "---   # two\napiVersion: apps/v1\n")
    assert out.endswith("---\n" + CONFIG_MAP)


@pytest.mark.parametrize(
    "change",
    [
        ("kind: Deployment", "kind: StatefulSet"),
        ("apps/v1", "extensions/v1beta1"),
        ("inject: holysheep", 'inject: "false"'),
        ("keyshepherd.dev/inject: holysheep", "a: b"),
    ],
)
def test_what_does_not_ask_is_untouched(change):
    text = DEPLOYMENT.replace(*change)
    assert printed("-f", "-", stdin=text) == text


def test_json_stays_json_and_keeps_its_numbers():
    text = as_json()
    out = printed("-f", "-", stdin=text)
    object = json.loads(out)
    assert '"replicas": 3.0e0' in out
    assert object["spec"]["template"]["spec"]["initContainers"][0]["name"].startswith("keyshepherd-")
    assert re.search(r'\n                "initContainers": \[\n                    \{\n                        "name": ', out)
    compact = json.dumps(json.loads(text), separators=(",", ":"))
    out = printed("-f", "-", stdin=compact)
    assert "\n" not in out and json.loads(out) == json.loads(printed("-f", "-", stdin=text).replace("3.0e0", "3.0"))


def test_items_of_a_list_are_patched_in_place():
    indented = "\n".join(("  " + line if line else line) for line in DEPLOYMENT.splitlines())
    text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap # c\n-" + indented[1:] + "\n"
    out = printed("-f", "-", stdin=text)
    items = yaml.safe_load(out)["items"]
    assert items[1] == yaml.safe_load(printed("-f", "-", stdin=DEPLOYMENT))
    assert "  kind: ConfigMap # c\n" in out
    untyped = {"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [json.loads(as_json())]}
    del untyped["items"][0]["apiVersion"], untyped["items"][0]["kind"]
    out = json.loads(printed("-f", "-", stdin=json.dumps(untyped)))
    assert "initContainers" in out["items"][0]["spec"]["template"]["spec"] and "kind" not in out["items"][0]


def test_anchors_are_expanded_where_they_must():
    text = DEPLOYMENT.replace("labels: {app: ai}", "labels: &l {app: ai}").replace("annotations:\n", "labels: &m {x: z}\n  annotations:\n")
    text = text.replace('            - {name: LOG, value: "no"}', '            - &e {name: LOG, value: "no"}\n            - *e')
    once = printed("-f", "-", stdin=text)
    env = yaml.safe_load(once)["spec"]["template"]["spec"]["containers"][0]["env"]
    assert env.count({"name": "LOG", "value": "no"}) == 2
    assert "# the app" in once
    assert printed("-f", "-", stdin=once) == once


COMMANDS = [
    "command: [sh, -c, 'exec app']  # the shell",
    "command: [ sh,  # the shell\n                     -c, \"exec app\" ]",
    "command:\n          # the shell\n          - sh   # of the image\n          - '-c'\n          - |\n            exec app",
    "command:\n          - sh",
    'command:\n            [\n              sh,   # the shell\n              "-c",\n            ]',
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrapped_command_keeps_its_spelling_and_opting_out_restores_it(command):
    text = DEPLOYMENT.replace("inject: holysheep", 'inject: holysheep\n    keyshepherd.dev/wiring: exec')
    text = text.replace("          ports:", f"          {command}\n          ports:")
    wired = printed("-f", "-", stdin=text)
    words = yaml.safe_load(wired)["spec"]["template"]["spec"]["containers"][0]["command"]
    assert words == ["/keyshepherd/bin/keyshepherd-exec", "--", *yaml.safe_load(text)["spec"]["template"]["spec"]["containers"][0]["command"]]
    for line in command.splitlines()[1:]:
        assert line in wired
    assert wired.count("# the shell") == text.count("# the shell")
    opted_out = printed("-f", "-", stdin=wired.replace("inject: holysheep", 'inject: "false"'))
    assert f"          {command}\n          ports:" in opted_out
    assert opted_out == text.replace("inject: holysheep", 'inject: "false"')


# ---- the diff ------------------------------------------------------------------------------------------------------------


def test_the_diff_makes_patch_1_produce_the_output(tmp_path):
    text = CONFIG_MAP + "---\n" + DEPLOYMENT + "---\n" + DEPLOYMENT.replace("ai-application", "second") + "---\n" + CONFIG_MAP.rstrip("\n")
    (tmp_path / "all.yaml").write_text(text)
    diff = printed("--diff", "-f", "all.yaml", "-n", "shop", cwd=tmp_path)
    assert re.findall(r"^(?:---|\+\+\+) .*$", diff, re.M) == [
        "--- a/all.yaml\tDeployment/shop/ai-application",
        "+++ b/all.yaml\tDeployment/shop/ai-application",
        "--- a/all.yaml\tDeployment/shop/second",
        "+++ b/all.yaml\tDeployment/shop/second",
    ]
    injected = printed("-f", "all.yaml", "-n", "shop", cwd=tmp_path)
    # Hunks number the lines of the whole file, so that one patch per object is one patch of the file.
    hunks = "".join(re.split(r"^--- .*\n\+\+\+ .*\n", diff, flags=re.M))
    subprocess.run(["patch", "-s", "all.yaml"], input=f"--- all.yaml\n+++ all.yaml\n{hunks}".encode(), cwd=tmp_path, check=True)
    assert (tmp_path / "all.yaml").read_text() == injected


def test_the_diff_is_what_diff_u_says(tmp_path):
    (tmp_path / "a").write_text(DEPLOYMENT)
    (tmp_path / "b").write_text(printed("-f", tmp_path / "a"))
    theirs = subprocess.run(["diff", "-u", "--minimal", "a", "b"], cwd=tmp_path, capture_output=True, text=True).stdout
    ours = printed("--diff", "-f", tmp_path / "a")
    count = lambda diff: (len(re.findall(r"^\+(?!\+\+)", diff, re.M)), len(re.findall(r"^-(?!--)", diff, re.M)))
    assert count(ours) == count(theirs)
    assert count(ours)[1] == 0


def deployments(count, more=""):
    one = textwrap.indent(DEPLOYMENT.replace("\nspec:", more + "\nspec:", 1), "  ")
    return "apiVersion: v1\nkind: List\nitems:\n" + "".join("-" + one.replace("ai-application", f"app-{i}")[1:] for i in range(count))


def test_the_diff_of_a_long_list_shows_what_changes(tmp_path):
    text = deployments(60)
    (tmp_path / "list.yaml").write_text(text)
    diff = printed("--diff", "-f", "list.yaml", cwd=tmp_path)
    added = len(re.findall(r"^\+(?!\+\+)", diff, re.M))
    assert added > 4000 and not re.findall(r"^-(?!--)", diff, re.M)
    subprocess.run(["patch", "-s", "-p1"], input=diff.encode(), cwd=tmp_path, check=True)
    assert (tmp_path / "list.yaml").read_text() == printed("-f", "-", stdin=text)


SMALL_DEPLOYMENT = """\
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: app-%d, annotations: {keyshepherd.dev/inject: holysheep}}
  spec:
    selector: {matchLabels: {app: a}}
    template:
      metadata: {labels: {app: a}}
      spec: {containers: [{name: app, image: a}]}
"""


def test_a_list_of_2700_deployments_is_injected():
    text = "apiVersion: v1\nkind: List\nitems:\n" + "".join(SMALL_DEPLOYMENT % i for i in range(2700))
    out = printed("-f", "-", stdin=text)
    assert out.count("keyshepherd.dev/injected") == 2700


def test_the_diff_of_a_file_above_can_be_applied(tmp_path):
    (tmp_path / "x.yaml").write_text(DEPLOYMENT)
    (tmp_path / "below").mkdir()
    injected = printed("-f", tmp_path / "x.yaml")
    names = {"../x.yaml": "x.yaml", "./../below/../../" + tmp_path.name + "/x.yaml": f"{tmp_path.name}/x.yaml", "x.yaml": "x.yaml"}
    for file, name in names.items():
        diff = printed("--diff", "-f", file, cwd=tmp_path / ("below" if file.startswith(".") else ""))
        assert diff.startswith(f"--- a/{name}\t") and f"\n+++ b/{name}\t" in diff
    for tool in (["patch", "-s", "-p1"], ["git", "apply", "--unsafe-paths", "-p1"]):
        (tmp_path / "x.yaml").write_text(DEPLOYMENT)
        subprocess.run(tool, input=printed("--diff", "-f", "../x.yaml", cwd=tmp_path / "below").encode(), cwd=tmp_path, check=True)
        assert (tmp_path / "x.yaml").read_text() == injected


# ---- files ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "b.yaml").write_text(DEPLOYMENT)
    (tmp_path / "a.yml").write_text(CONFIG_MAP.rstrip("\n"))
    (tmp_path / "c.json").write_text('{"kind":"C"}')
    (tmp_path / "d.json").write_text('{"kind":"D"}')
    (tmp_path / "notes.txt").write_text("a: [")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "e.yaml").write_text(CONFIG_MAP.replace("name: c", "name: below"))
    return tmp_path


def test_directories_are_read_in_order_and_below_when_asked(folder):
    out = printed("-f", folder)
    assert out == CONFIG_MAP + "---\n" + printed("-f", folder / "b.yaml") + '---\n{"kind":"C"}\n---\n{"kind":"D"}'
    assert "name: below" not in out
    out = printed("-R", "-f", folder)
    assert out.startswith(CONFIG_MAP + "---\n") and "name: below" in out
    assert printed("--recursive", "-f", folder) == out
    assert printed("-f", out_file(folder, out)) == out, "what was printed can be read again"


def out_file(folder, text):
    path = folder / "out.txt"
    path.write_text(text)
    return path


def test_files_are_joined_by_separators(folder):
    two = printed("-f", folder / "a.yml", "-f", folder / "a.yml")
    assert two == CONFIG_MAP + "---\n" + CONFIG_MAP.rstrip("\n")
    assert printed("-f", folder / "a.yml", folder / "a.yml") == two
    (folder / "f.yaml").write_text("%YAML 1.1\n---\nkind: F\n")
    (folder / "g.yaml").write_bytes(b"\xef\xbb\xbf---\nkind: G\n")
    out = printed("-f", folder / "f.yaml", "-f", folder / "f.yaml", "-f", folder / "g.yaml")
    assert out == "%YAML 1.1\n---\nkind: F\n...\n%YAML 1.1\n---\nkind: F\n---\nkind: G\n"
    assert printed("-f", "-", "-f", folder / "a.yml", stdin="kind: S\n") == "kind: S\n---\n" + CONFIG_MAP.rstrip("\n")


def config_map(name):
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})


def read_by_kubectl(text):
    """The names of the objects that kubectl reads out of a stream; no server is asked."""
    kubectl = rig.build_tools() / "kubectl"
    done = subprocess.run([kubectl, "label", "--local", "-f", "-", "read=yes", "-o", "name"], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


YAML_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: yaml}\n"
JSON_MAPS = "\n".join(map(config_map, ("one", "two")))


@pytest.mark.parametrize("texts", [
    [YAML_MAP, config_map("b"), config_map("c")],
    [config_map("b"), YAML_MAP, config_map("c") + "\n"],
    [config_map("b"), config_map("c"), YAML_MAP],
    [config_map("b"), config_map("c")],
    [JSON_MAPS, YAML_MAP],
    [YAML_MAP, JSON_MAPS, config_map("c")],
    [JSON_MAPS + "\n---\n" + YAML_MAP],
    ["\ufeff" + config_map("b"), YAML_MAP],
    [YAML_MAP + "---\n", config_map("b"), "# nothing\n", config_map("c")],
    [config_map("b"), "---\n" + config_map("c"), config_map("d")],
    ["", config_map("b"), config_map("c")],
])
def test_kubectl_reads_every_object_of_a_folder(tmp_path, texts):
    for i, text in enumerate(texts):
        (tmp_path / f"{i}.{'yaml' if 'kind: ' in text else 'json'}").write_text(text)
    out = printed("-f", tmp_path)
    names = [name for text in texts for name in re.findall(r"name\W+(\w+)", text)]
    assert read_by_kubectl(out) == [f"configmap/{name}" for name in names], out
    assert printed("-f", "-", stdin=out) == out


def test_a_json_value_that_kubectl_would_drop_is_refused():
    error = refused("-f", "-", stdin=f"---\n{JSON_MAPS}\n")
    assert re.match(r"error: stdin line 3\b", error) and "add a '---' line" in error
    assert read_by_kubectl(f"---\n{JSON_MAPS}\n") == ["configmap/one"]
    assert printed("-f", "-", stdin=JSON_MAPS) == JSON_MAPS


def test_an_empty_input_prints_itself():
    done = inject("-f", "-", stdin="")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "warning: stdin: no objects found\n")
    assert printed("-f", "-", stdin="# c\n---\n") == "# c\n---\n"


# ---- errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, message",
    [
        ("a: 1\nb: [\n", r"error: stdin line 3, column 1: .+"),
        ("a: 1\n---\nb: 1\nb: 2\n", r'error: stdin line 4, column 1: duplicate key "b": .+'),
        ('{"a": 1,\n "b": }{', r"error: stdin line 2, column \d+: .+"),
        ("just text\n", r"error: stdin line 1: not a Kubernetes object; expected a map"),
        ("---\n- a\n", r"error: stdin line 2: not a Kubernetes object; .+"),
        (b"a: \xff\n", r"error: stdin line 1, column 4: invalid UTF-8"),
        (b"\x7fELF\0\1", r"error: stdin line 1, column 1: control character U\+007F is not allowed"),
        ("a: \"x\n", r"error: stdin line 1, column 4: the closing quote is missing"),
    ],
)
def test_bad_input_names_file_and_line(text, message):
    assert re.fullmatch(message + r"\n", refused("-f", "-", stdin=text))


def test_a_denial_names_every_fault_and_prints_nothing(tmp_path):
    bad = DEPLOYMENT.replace("inject: holysheep", "inject: nobody")
    (tmp_path / "all.yaml").write_text(CONFIG_MAP + "---\n# c\n" + bad + "---\n" + DEPLOYMENT + "---\n" + bad.replace("inject: nobody", "inject: holysheep\n    keyshepherd.dev/wiring: nonsense"))
    for flags in ((), ("--diff",)):
        errors = refused("-f", "all.yaml", *flags, "--namespace", "shop", cwd=tmp_path).splitlines()
        start = "error: all.yaml line {}: Deployment shop/ai-application: metadata.annotations[keyshepherd.dev/{}]: "
        assert len(errors) == 2
        assert errors[0].startswith(start.format(8, "inject")) and "nobody" in errors[0]
        assert errors[1].startswith(start.format(8 + 2 * len(DEPLOYMENT.splitlines()) + 2, "wiring"))


def test_an_object_of_the_wrong_shape_is_an_error_like_any_other():
    text = re.sub(r"containers:\n.*", "containers: [app]\n", DEPLOYMENT, flags=re.S)
    assert refused("-f", "-", stdin=text).startswith("error: stdin line 1: Deployment default/")


def test_a_fault_in_a_list_names_the_items_line():
    bad = json.loads(as_json())
    bad["metadata"]["annotations"]["keyshepherd.dev/inject"] = "nobody"
    text = '{"apiVersion":"v1","kind":"List","items":[\n{},\n' + json.dumps(bad) + "]}"
    assert refused("-f", "-", stdin=text).startswith("error: stdin line 3: Deployment default/ai-application: ")


def test_warnings_go_to_stderr_and_do_not_fail():
    text = DEPLOYMENT.replace("labels: {app: ai}\n    spec", "labels: {app: ai}\n      annotations: {keyshepherd.dev/inject: 'true'}\n    spec")
    done = inject("-f", "-", stdin=text)
    assert done.returncode == 0 and "initContainers" in done.stdout
    assert done.stderr.startswith("warning: stdin: Deployment/default/ai-application: the workload and its pod template set keyshepherd.dev/inject")


def test_files_that_cannot_be_read(tmp_path, folder):
    assert refused("-f", tmp_path / "no.yaml") == f"error: {tmp_path}/no.yaml: cannot be opened: No such file or directory\n"
    (tmp_path / "empty").mkdir()
    assert refused("-f", tmp_path / "empty").startswith(f"error: {tmp_path}/empty: no *.yaml, *.yml or *.json files in this directory; use --recursive")
    (tmp_path / "empty" / "deeper").mkdir()
    assert refused("-R", "-f", tmp_path / "empty") == f"error: {tmp_path}/empty: no *.yaml, *.yml or *.json files in this directory\n"
    assert refused("-f", "-", "-f", "-") == "error: -f - is set twice, but standard input can be read only once\n"
    assert refused("-f", folder / "a.yml", "-f", folder / "notes.txt").startswith(f"error: {folder}/notes.txt line ")
    assert inject().returncode != 0 and "--filename is required" in inject().stderr


def test_one_unreadable_file_stops_a_folder_and_can_be_skipped(folder):
    template = "kind: Deployment\nmetadata:\n  {{- include \"labels\" . }}\n"
    (folder / "chart.yaml").write_text(template)
    errors = refused("-f", folder).splitlines()
    assert errors[0].startswith(f"error: {folder}/chart.yaml line 3, column ") and "with `helm template`" in errors[0]
    assert errors[1:] == ["error: 1 of 5 files cannot be read, so the command did nothing; correct it, remove it, or use --skip-unreadable to skip it"]
    done = inject("-f", folder, "--skip-unreadable")
    (folder / "chart.yaml").unlink()
    assert (done.returncode, done.stdout) == (0, printed("-f", folder))
    assert done.stderr == errors[0].replace("error: ", "warning: ", 1) + ": file skipped\n"
    (folder / "gone.yaml").symlink_to("nowhere")
    errors = refused("-f", folder).splitlines()
    assert errors[0] == f"error: {folder}/gone.yaml cannot be opened: No such file or directory"
    assert inject("-f", folder, "--skip-unreadable").stdout == done.stdout
    # What is named must be there, and something must be left.
    assert "cannot be opened" in refused("-f", folder / "no.yaml", "--skip-unreadable")
    assert refused("-f", "-", "--skip-unreadable", stdin=template).startswith("warning: stdin line 3")


def test_a_fault_of_syntax_in_a_list_names_the_item():
    text = deployments(3).replace("name: app-1", "name: app-1: x")
    assert re.match(r"error: stdin line \d+, column \d+: items\[1\]: ", refused("-f", "-", stdin=text))


@pytest.mark.parametrize("annotation, words", [
    ("wiring: environment-file", 'invalid value "environment-file": must be one of auto, envfile'),
    ("auth-path: auth/kubernetes/", "invalid path \"auth/kubernetes/\": remove the trailing '/'"),
    ("env-KEY: ai-apis/data/holysheep/#api_key", "invalid path \"ai-apis/data/holysheep/\": remove the trailing '/'"),
    ("log-level: " + "much " * 13, 'invalid value "' + ("much " * 13)[:60] + '…": must be one of trace'),
    ("log-level: sk-live-0123456789abcdef0123456789abcdef", "invalid value (40 characters, hidden)"),
    ("log-level: 3f2c8a1e-77b0-4c7e-9d53-0c1f5d1f8a77", "invalid value (36 characters, hidden)"),
])
def test_a_message_shows_the_value_and_what_is_wrong_with_it(annotation, words):
    text = DEPLOYMENT.replace("inject: holysheep", f"inject: holysheep\n    keyshepherd.dev/{annotation}")
    assert words in refused("-f", "-", stdin=text)


def test_a_closed_output_is_an_error(tmp_path):
    (tmp_path / "a.yaml").write_text(DEPLOYMENT)
    with open("/dev/full", "w") as full:
        done = subprocess.run([PROGRAM, "inject", "-f", tmp_path / "a.yaml", "--image", IMAGE], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr == "error: cannot write to standard output\n"


# ---- settings ------------------------------------------------------------------------------------------------------------


def test_settings_come_from_flags_and_environment(tmp_path):
    out = printed("-f", "-", "--vault-address", "https://bao.example:8200", "--agent-flavor", "vault", stdin=DEPLOYMENT)
    assert "https://bao.example:8200" in out and "hashicorp/vault:" in out
    assert out == printed(
        "-f", "-", stdin=DEPLOYMENT, environment={"KEYSHEPHERD_VAULT_ADDRESS": "https://bao.example:8200", "KEYSHEPHERD_AGENT_FLAVOR": "vault"}
    )
    # The default is a cluster of 1.35, where kubelets know fileKeyRef.
    assert "fileKeyRef" in printed("-f", "-", stdin=DEPLOYMENT)
    assert "app" in refused("-f", "-", "--kubernetes-version", "1.34", stdin=DEPLOYMENT)
    assert "app" in refused("-f", "-", "--min-kubelet-version", "v1.34.2", stdin=DEPLOYMENT)
    assert refused("-f", "-", "--kubernetes-version", "new", stdin=DEPLOYMENT).startswith("error: --kubernetes-version: ")


def test_the_namespace_flag_is_for_objects_that_name_none():
    own = DEPLOYMENT.replace("  name: ai-application", "  name: ai-application\n  namespace: kube-system")
    assert printed("-f", "-", "--namespace", "shop", stdin=own) == own, "never injected there"
    assert printed("-f", "-", "--namespace", "kube-system", stdin=DEPLOYMENT) == DEPLOYMENT
    assert printed("-f", "-", stdin=DEPLOYMENT, environment={"KEYSHEPHERD_NAMESPACE": "kube-system"}) == DEPLOYMENT
    assert "initContainers" in printed("-f", "-", "-n", "shop", stdin=DEPLOYMENT)


STAGES = {"apiVersion": "keyshepherd.dev/v1alpha1", "kind": "ClusterAIProvider", "metadata": {"name": "holysheep"}, "spec": {
    "path": "kv/data/dev", "variables": [{"name": "HOLYSHEEP_API_KEY", "key": "api_key"}],
    "overrides": [{"namespaceSelector": {"matchLabels": {"env": "prod"}}, "path": "kv/data/prod"},
                  {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "stage"}}, "path": "kv/data/stage"}]}}


def test_overrides_go_by_the_labels_of_namespaces_among_the_files(tmp_path):
    (tmp_path / "providers.yaml").write_text(json.dumps(STAGES))
    namespace = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {env: %s}}\n"
    for env, path in (("prod", "kv/data/prod"), ("dev", "kv/data/dev")):
        done = inject("-f", "-", "-n", "shop", "--providers", tmp_path / "providers.yaml", stdin=DEPLOYMENT + namespace % env)
        assert done.returncode == 0, done.stderr
        assert path in done.stdout
    unknown = inject("-f", "-", "-n", "shop", "--providers", tmp_path / "providers.yaml", stdin=DEPLOYMENT)
    assert unknown.returncode == 1 and unknown.stdout == ""
    assert "labels of namespace shop (env), which are unknown; add a file with the Namespace and its labels" in unknown.stderr
    by_name = STAGES | {"spec": STAGES["spec"] | {"overrides": STAGES["spec"]["overrides"][1:]}}
    (tmp_path / "providers.yaml").write_text(json.dumps(by_name))
    done = inject("-f", "-", "-n", "stage", "--providers", tmp_path / "providers.yaml", stdin=DEPLOYMENT)
    assert done.returncode == 0 and "kv/data/stage" in done.stdout, done.stderr


def test_settings_are_checked_before_anything_is_read():
    bad = {"--agent-cpu-request": "9", "--image": "Registry/x@sha256:00", "--min-kubelet-version": "1.36", "--vault-address": "vault:8200",
           "--default-provider": "nobody", "--agent-run-as-user": "-3"}
    error = refused("-f", "/nowhere", *(part for pair in bad.items() for part in pair))
    assert error.count("\n") == 1 and [flag for flag in bad if f"{flag}: " not in error] == [], error
    assert "available providers: holysheep" in error and "https://" in error and "exceeds --agent-cpu-limit" in error
    assert "--min-kubelet-version: kubelet 1.31 is more than 3 minor versions older" in refused("-f", "-", "--min-kubelet-version", "1.31", stdin=DEPLOYMENT)
    assert "--agent-run-as-user: invalid value -3" in refused("-f", "-", stdin=DEPLOYMENT, environment={"KEYSHEPHERD_AGENT_RUN_AS_USER": "-3"})


def test_without_image_only_what_needs_none_is_injected():
    error = refused("-f", "-", "--image", "", stdin=DEPLOYMENT)
    assert error.count("\n") == 1 and "metadata.annotations[keyshepherd.dev/inject]: needs the image that contains keyshepherd-exec" in error
    assert "set --image of the webhook or of keyshepherd inject" in error
    assert inject("-f", "-", "--image", "", stdin=DEPLOYMENT.replace("holysheep", "'false'")).returncode == 0
    for image in (f"k@sha256:{'0' * 64}", f"registry.example:5000/k:0.1.0@sha256:{'a' * 64}"):
        assert f"image: {image}\n" in inject("-f", "-", "--image", image, stdin=DEPLOYMENT).stdout
        assert f"image: {image}\n" in inject("-f", "-", "--bao-image", image, stdin=DEPLOYMENT).stdout
        assert f"image: {image}\n" in inject("-f", "-", stdin=DEPLOYMENT, environment={"KEYSHEPHERD_IMAGE": image}).stdout
    for flag in ("--image", "--bao-image", "--vault-image"):
        assert f"{flag}: invalid value" in refused("-f", "-", flag, "k@sha256:00", stdin=DEPLOYMENT)


def test_an_assumed_kubelet_is_said_to_be_assumed():
    assumed = refused("-f", "-", "--kubernetes-version", "1.34", stdin=DEPLOYMENT)
    assert "oldest node runs Kubernetes 1.34 (assumed to match the API server, because --min-kubelet-version is not set)" in assumed
    assert "assumed" not in refused("-f", "-", "--min-kubelet-version", "1.34", stdin=DEPLOYMENT)


# ---- what is left alone --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version, kind", [("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"), ("batch/v1", "Job"), ("batch/v1", "CronJob"), ("extensions/v1beta1", "Deployment")])
def test_what_asks_and_is_no_deployment_is_left_alone_with_a_warning(version, kind):
    item = yaml.safe_load(DEPLOYMENT) | {"apiVersion": version, "kind": kind}
    if kind == "CronJob":
        item["spec"]["jobTemplate"] = {"spec": {"template": item["spec"].pop("template")}}
        item["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["annotations"] = item["metadata"].pop("annotations")
    warning = f"warning: stdin: {kind}/default/ai-application: not injected: this version injects only Deployments of apps/v1\n"
    for text in (json.dumps(item), json.dumps({"apiVersion": "v1", "kind": "List", "items": [item]})):
        done = inject("-f", "-", stdin=text)
        assert (done.returncode, done.stdout, done.stderr) == (0, text, warning)
    silent = inject("-f", "-", stdin=json.dumps(item).replace('"holysheep"', '"false"'))
    assert (silent.returncode, silent.stderr) == (0, "")


def test_an_own_namespace_is_left_alone_with_a_warning():
    done = inject("-f", "-", "-n", "kube-system", stdin=DEPLOYMENT)
    assert done.returncode == 0 and done.stderr == "warning: stdin: Deployment/kube-system/ai-application: not injected: --own-namespace excludes this namespace\n"
    assert inject("-f", "-", "-n", "kube-system", stdin=DEPLOYMENT.replace("holysheep", "'false'")).stderr == ""


def test_annotations_without_the_one_that_asks_are_a_warning():
    done = inject("-f", "-", stdin=DEPLOYMENT.replace("inject: holysheep", "injct: holysheep\n    keyshepherd.dev/wiring: exec"))
    assert done.returncode == 0
    assert "no effect without keyshepherd.dev/inject: keyshepherd.dev/injct, keyshepherd.dev/wiring\n" in done.stderr
    assert "keyshepherd.dev/injct: unknown annotation; did you mean keyshepherd.dev/inject?\n" in done.stderr


# ---- the program itself --------------------------------------------------------------------------------------------------


def test_a_commit_makes_the_build_ask_for_the_commit_anew():
    rules = PROGRAM.parent / "build.ninja"
    log = subprocess.run(["git", "-C", ROOT, "rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"], capture_output=True, text=True).stdout.strip()
    if not rules.exists() or not pathlib.Path(log).is_file():
        pytest.skip("no build tree beside this program, or no log of HEAD")
    again = next(line for line in rules.read_text().splitlines() if line.startswith("build build.ninja"))
    assert log in again


@pytest.mark.parametrize(
    "words, code, said",
    [
        (["injct"], 1, "error: unknown command injct; the commands are webhook, inject, "),
        (["help", "injct"], 1, "error: unknown command injct; "),
        (["inject", "deploy.yaml"], 1, "error: unexpected argument deploy.yaml; pass files with -f, as in -f deploy.yaml\n"),
        (["inject", "deploy.yaml", "-f", "-"], 1, "error: unexpected argument deploy.yaml; pass files with -f, "),
        (["plan", "a.yaml"], 1, "error: unexpected argument a.yaml; pass files with -f, "),
        (["--version"], 0, "keyshepherd "),
        (["help"], 0, "inject"),
        (["help", "inject"], 0, "--filename"),
    ],
)
def test_the_words_of_a_new_user_are_understood(words, code, said):
    done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=20)
    assert done.returncode == code and said in (done.stdout if code == 0 else done.stderr), done
