//! Models, samples and settings that PyTorch and TensorFlow cannot export, and what is said of them.
//!
//! Which Pythons it takes is told by `convert_frameworks.rs`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::convert_frameworks::{tensorflow, torch, written};
use crate::support::Project;

/// A spec with these stages of `convert`, exported by this Python.
fn project(python: &str, conversions: &[(&str, &str)]) -> Project {
    let mut spec = "version: 1\nname: p\nstages:\n".to_owned();
    for (name, settings) in conversions {
        spec += &format!("  {name}: {{ convert: {{ {settings}, python: '{python}' }} }}\n");
    }
    Project::with_spec(&spec)
}

/// What a run tells of each stage that failed: the error and its help.
fn failures(project: &Project) -> BTreeMap<String, String> {
    let ran = project.trt(&["run", "p.yaml", "--keep-going", "--format", "json"]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    let events = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
    let errors = events.filter(|event: &Value| event["severity"] == "error");
    let told = errors.map(|event| {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        (text("stage"), format!("{}; help: {}", text("message"), text("help")))
    });
    told.collect()
}

/// Every stage fails, and what is told of it holds these words.
fn each_is_told(
    python: &str,
    make: &str,
    stages: &[(&str, &str, &[&str])],
) -> BTreeMap<String, String> {
    let conversions: Vec<_> = stages.iter().map(|(name, settings, _)| (*name, *settings)).collect();
    let project = project(python, &conversions);
    written(python, &project, make);
    let failures = failures(&project);
    for (name, _, words) in stages {
        let told = failures.get(*name).map_or("nothing", String::as_str);
        for word in *words {
            assert!(told.contains(word), "{name} does not tell {word:?}: {told}");
        }
    }
    failures
}

fn description(project: &Project, stage: &str) -> Value {
    serde_json::from_str(&project.read(&format!("build/p/{stage}/convert.json"))).unwrap()
}

/// Writes `net.pt`, TorchScript that doubles its one input.
const DOUBLE: &str = "import numpy, torch\n\
    class Double(torch.nn.Module):\n\
    \x20   def forward(self, x):\n\
    \x20       return x * 2\n\
    torch.jit.script(Double()).save('net.pt')\n\
    class Scaled(torch.nn.Module):\n\
    \x20   def forward(self, ids, scale):\n\
    \x20       return ids * scale\n\
    torch.jit.script(Scaled()).save('two.pt')\n";

#[test]
fn all_samples_are_compared_the_first_alone_and_the_others_eight_at_a_time() {
    let Some(python) = torch() else { return };
    let net = "model: net.pt, inputs: { x: { shape: [n, 3] } }";
    let samples = |file: &str| format!("{net}, samples: {file}");
    let two = "model: two.pt, samples: two.npz, inputs: { ids: { shape: [n, 3] }, scale: { shape: [1] } }";
    let fixed = "model: net.pt, inputs: { x: { shape: [4, 3] } }, samples: ten.npy";
    let (ten, many, lone) = (samples("ten.npy"), samples("many.npy"), samples("lone.npy"));
    let project = project(
        &python,
        &[("ten", &ten), ("many", &many), ("lone", &lone), ("two", two), ("fixed", fixed)],
    );
    let arrays = "rows = lambda n: numpy.arange(3 * n, dtype='f4').reshape(n, 3)\n\
        for name, n in ('ten', 10), ('many', 100), ('lone', 1): numpy.save(name + '.npy', rows(n))\n\
        numpy.savez('two.npz', ids=rows(10), scale=rows(1)[0][1:2])\n";
    written(&python, &project, &format!("{DOUBLE}{arrays}"));
    project.run_ok();
    for (stage, cases, rows) in
        [("ten", 3, 10), ("many", 9, 64), ("lone", 1, 1), ("two", 3, 10), ("fixed", 2, 8)]
    {
        let comparison = &description(&project, stage)["comparison"];
        assert_eq!(comparison["cases"], cases, "{stage}: {comparison:#}");
        assert_eq!(comparison["outputs"][0]["elements"], 3 * rows, "{stage}: {comparison:#}");
    }
}

#[test]
fn samples_that_do_not_fit_are_told_with_the_input_and_both_shapes() {
    let Some(python) = torch() else { return };
    let net = "model: net.pt, inputs: { x: { shape: [n, 3] } }, samples: ";
    let two = "model: two.pt, inputs: { ids: { shape: [n, 3] }, scale: { shape: [n] } }, samples: ";
    let of = |model: &str, file: &str| format!("{model}{file}");
    each_is_told(
        &python,
        &format!(
            "{DOUBLE}rows = lambda *shape: numpy.ones(shape, 'f4')\n\
             numpy.save('wide.npy', rows(5, 4))\n\
             numpy.save('double.npy', rows(5, 3).astype('f8'))\n\
             numpy.save('none.npy', rows(0, 3))\n\
             numpy.savez('other.npz', y=rows(5, 3))\n\
             numpy.savez('counts.npz', ids=rows(5, 3), scale=rows(4))\n\
             open('text.npz', 'w').write('x: 1')\n\
             numpy.savez('cut.npz', x=rows(50, 3))\n\
             cut = open('cut.npz', 'rb').read()\n\
             open('cut.npz', 'wb').write(cut[:100])\n"
        ),
        &[
            (
                "wide",
                &of(net, "wide.npy"),
                &[
                    "holds `x` as float32 [5, 4], the model takes `x: float32 [n, 3]`",
                    "in the input's shape",
                ],
            ),
            ("double", &of(net, "double.npy"), &["`x` as float64 [5, 3]", "astype(\"float32\")"]),
            ("none", &of(net, "none.npy"), &["`x` as float32 [0, 3]", "at least one sample"]),
            ("other", &of(net, "other.npz"), &["`other.npz` have no array `x`", "they hold `y`"]),
            (
                "text",
                &of(net, "text.npz"),
                &["cannot be read from `text.npz`", "neither .npz nor .npy"],
            ),
            ("cut", &of(net, "cut.npz"), &["cannot be read from `cut.npz`", "a .npz file with"]),
            (
                "one",
                &of(two, "wide.npy"),
                &["one array, the model takes 2: `ids`, `scale`", ".npz"],
            ),
            ("counts", &of(two, "counts.npz"), &["5 of `ids`, 4 of `scale`", "axis 0 counts them"]),
        ],
    );
}

#[test]
fn a_record_that_is_not_what_was_written_is_named_and_one_without_a_checksum_is_taken() {
    let Some(python) = torch() else { return };
    let net = "inputs: { x: { shape: [n, 3] } }, module: net.py, factory: build";
    let script = "inputs: { x: { shape: [n, 3] } }";
    let make = "import torch, zipfile\n\
        net = torch.nn.Linear(3, 4)\n\
        def damaged(name, record):\n\
        \x20   with zipfile.ZipFile(name) as archive:\n\
        \x20       found = next(each for each in archive.infolist() if each.filename.endswith(record))\n\
        \x20       content = archive.read(found)\n\
        \x20   data = open(name, 'rb').read()\n\
        \x20   at = data.index(content, found.header_offset)\n\
        \x20   open(name, 'wb').write(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])\n\
        open('net.py', 'w').write('import torch\\ndef build(): return torch.nn.Linear(3, 4)\\n')\n\
        torch.save(net.state_dict(), 'weights.pth')\n\
        torch.jit.script(net).save('script.pt')\n\
        torch.export.save(torch.export.export(net, (torch.rand(2, 3),)), 'program.pt2')\n\
        damaged('weights.pth', 'data/0')\n\
        damaged('script.pt', 'constants.pkl')\n\
        damaged('program.pt2', 'models/model.json')\n\
        torch.serialization.set_crc32_options(False)\n\
        torch.save(net.state_dict(), 'unchecked.pth')\n";
    each_is_told(
        &python,
        make,
        &[
            (
                "weights",
                &format!("model: weights.pth, {net}"),
                &["`weights.pth` is damaged: its record", "data/0"],
            ),
            (
                "script",
                &format!("model: script.pt, {script}"),
                &["damaged: its record", "constants.pkl"],
            ),
            (
                "program",
                "model: program.pt2",
                &["damaged: its record", "model.json", "help: copy or download"],
            ),
        ],
    );
    let unchecked = format!("model: unchecked.pth, {net}");
    let project = project(&python, &[("unchecked", &unchecked)]);
    written(&python, &project, make);
    project.run_ok();
}

#[test]
fn an_input_that_the_model_does_not_use_is_left_out_with_a_warning() {
    let Some(python) = torch() else { return };
    let settings = "model: net.pt, inputs: { x: { shape: [n, 3] }, mask: { shape: [n, 3] } }";
    let project = project(&python, &[("net", settings)]);
    written(
        &python,
        &project,
        "import torch\n\
         class Net(torch.nn.Module):\n\
         \x20   def forward(self, x, mask):\n\
         \x20       return x * 2\n\
         torch.jit.script(Net()).save('net.pt')\n",
    );
    project.run_ok();
    let told = description(&project, "net");
    assert_eq!(told["inputs"].as_array().unwrap().len(), 1, "{told:#}");
    let warning = told["source"]["warnings"][0].as_str().unwrap();
    assert!(warning.contains("does not use its input `mask`"), "{warning}");
}

#[test]
fn programs_with_operators_or_objects_of_others_are_refused_by_name() {
    let Some(python) = torch() else { return };
    each_is_told(
        &python,
        "import torch, os, zipfile, io\n\
         library = torch.library.Library('mine', 'DEF')\n\
         library.define('frob(Tensor x) -> Tensor')\n\
         for where in 'CPU', 'Meta': library.impl('frob', lambda x: x + 1, where)\n\
         class Net(torch.nn.Module):\n\
         \x20   def forward(self, x):\n\
         \x20       return torch.ops.mine.frob(x)\n\
         torch.jit.script(Net()).save('script.pt')\n\
         torch.export.save(torch.export.export(Net(), (torch.rand(2, 3),)), 'program.pt2')\n\
         class Runs:\n\
         \x20   def __reduce__(self): return os.mkdir, ('ran',)\n\
         torch.export.save(torch.export.export(torch.nn.Linear(3, 4), (torch.rand(2, 3),)), 'plain.pt2')\n\
         code = io.BytesIO()\n\
         torch.save(((Runs(),), {}), code)\n\
         with zipfile.ZipFile('plain.pt2') as plain, zipfile.ZipFile('evil.pt2', 'w') as evil:\n\
         \x20   for name in plain.namelist():\n\
         \x20       evil.writestr(name, code.getvalue() if 'sample_inputs' in name else plain.read(name))\n",
        &[
            (
                "program",
                "model: program.pt2",
                &["the operator `mine::frob`", "help: write the export yourself with `script:`"],
            ),
            (
                "script",
                "model: script.pt, inputs: { x: { shape: [n] } }",
                &["`mine::frob`", "`script:`"],
            ),
            (
                "evil",
                "model: evil.pt2",
                &["pickled Python objects (`posix.mkdir`)", "so it is not loaded"],
            ),
        ],
    );
}

#[test]
fn inputs_that_forward_does_not_take_are_told_with_its_parameters() {
    let Some(python) = torch() else { return };
    let two = |inputs: &str| format!("model: two.pt, inputs: {{ {inputs} }}");
    each_is_told(
        &python,
        DOUBLE,
        &[
            (
                "few",
                &two("ids: { shape: [n, 3] }"),
                &[
                    "`forward` takes `ids`, `scale`, `inputs:` declares `ids`",
                    "declare `scale` as well",
                ],
            ),
            (
                "many",
                &two("a: { shape: [3] }, b: { shape: [3] }, c: { shape: [3] }"),
                &["`inputs:` declares `a`, `b`, `c`", "remove what `forward` does not take"],
            ),
        ],
    );
}

#[test]
fn what_forward_takes_and_gives_must_be_tensors() {
    let Some(python) = torch() else { return };
    let weights = "model: net.pth, module: net.py, inputs: { x: { shape: [n, 3] } }, factory:";
    each_is_told(
        &python,
        "import torch\n\
         class Listed(torch.nn.Module):\n\
         \x20   def forward(self, xs: list[torch.Tensor]):\n\
         \x20       return xs[0]\n\
         torch.jit.script(Listed()).save('list.pt')\n\
         torch.save({'w': torch.zeros(1)}, 'net.pth')\n\
         net = 'import torch\\n'\n\
         for name, result in ('Nothing', 'None'), ('Sparse', 'x.to_sparse()'):\n\
         \x20   net += f'class {name}(torch.nn.Module):\\n'\n\
         \x20   net += ' def __init__(self): super().__init__(); self.w = torch.nn.Parameter(torch.zeros(1))\\n'\n\
         \x20   net += f' def forward(self, x): return {result}\\n'\n\
         open('net.py', 'w').write(net)\n\
         open('fails.py', 'w').write('def export(request):\\n raise KeyError(request[\"opset\"])\\n')\n",
        &[
            (
                "list",
                "model: list.pt, inputs: { xs: { shape: [n, 3] } }",
                &["`forward` takes `xs` as List[Tensor]", "`script:`"],
            ),
            ("nothing", &format!("{weights} Nothing"), &["the model returns no tensor"]),
            (
                "sparse",
                &format!("{weights} Sparse"),
                &["the output `output` cannot be compared", "Sparse"],
            ),
            (
                "script",
                "model: net.pth, script: fails.py",
                &[
                    "KeyError: None (fails.py, line 2, in export); its last output",
                    "| Traceback",
                    "help: the output above",
                ],
            ),
        ],
    );
}

#[test]
fn an_opset_that_the_exporter_does_not_write_is_told_with_those_that_it_does() {
    let Some(python) = torch() else { return };
    each_is_told(
        &python,
        DOUBLE,
        &[(
            "late",
            "model: net.pt, inputs: { x: { shape: [n, 3] } }, opset: 26",
            &[
                "the TorchScript exporter of PyTorch",
                "writes opset 7 to",
                "`opset:` asks for 26",
                "leave `opset:` out",
            ],
        )],
    );
}

#[test]
fn code_of_the_user_that_ends_python_is_named_with_its_place() {
    let Some(python) = torch() else { return };
    let weights = "model: net.pth, inputs: { x: { shape: [n, 3] } }, factory: build, module:";
    each_is_told(
        &python,
        "import torch\n\
         torch.save(torch.nn.Linear(3, 4).state_dict(), 'net.pth')\n\
         open('ends.py', 'w').write('import sys\\ndef build(): sys.exit(3)\\ndef export(request): sys.exit()\\n')\n\
         open('loads.py', 'w').write('import sys\\n\\nsys.exit(\"no home\")\\n')\n",
        &[
            (
                "factory",
                &format!("{weights} ends.py"),
                &["`build()` ended Python: sys.exit(3) (ends.py, line 2, in build)"],
            ),
            (
                "module",
                &format!("{weights} loads.py"),
                &["`loads.py` ended Python: sys.exit('no home') (loads.py, line 3"],
            ),
            (
                "script",
                "model: net.pth, script: ends.py",
                &["`export` ended Python: sys.exit() (ends.py, line 3"],
            ),
        ],
    );
}

#[test]
fn an_opset_before_the_newer_exporter_says_that_the_older_one_was_taken() {
    let Some(python) = torch() else { return };
    let settings = "model: net.pth, module: net.py, factory: build, inputs: { x: { shape: [n, 3] } }, opset: 16";
    let project = project(&python, &[("net", settings)]);
    written(
        &python,
        &project,
        "import torch\n\
         torch.save(torch.nn.Linear(3, 4).state_dict(), 'net.pth')\n\
         open('net.py', 'w').write('import torch\\ndef build(): return torch.nn.Linear(3, 4)\\n')\n",
    );
    project.run_ok();
    let told = description(&project, "net");
    let warning = told["source"]["warnings"][0].as_str().unwrap();
    assert!(warning.contains("the older, TorchScript exporter: opset 16 is before 18"), "{told:#}");
}

#[test]
fn what_keras_and_tensorflow_cannot_take_is_told_without_their_noise() {
    let Some(python) = tensorflow() else { return };
    let make = "import tensorflow as tf\n\
        x = tf.keras.Input((3,))\n\
        tf.keras.Model(x, tf.keras.layers.Dense(2)(x)).save('net.keras')\n\
        code = tf.keras.Model(x, tf.keras.layers.Lambda(lambda x: [open('ran', 'w'), x][1])(x))\n\
        code.save('code.keras')\n\
        code.save('code.h5')\n";
    let safe = &["holds Python code, such as a `Lambda` layer's, which is not run", "`script:`"];
    let stages: [(&str, &str, &[&str]); 3] = [
        ("lambda", "model: code.keras", safe),
        ("older", "model: code.h5", safe),
        ("late", "model: net.keras, opset: 26", &["tf2onnx", "writes opset 7 to", "asks for 26"]),
    ];
    for (stage, told) in each_is_told(&python, make, &stages) {
        assert!(!told.contains("last output"), "{stage}: {told}");
    }
}

#[test]
fn a_program_whose_reductions_the_exporter_cannot_bring_to_opset_17_comes_to_it() {
    let Some(python) = torch() else { return };
    let net = "model: net.pt2, exporter: dynamo, opset: 17";
    let project = project(&python, &[("net", net)]);
    written(
        &python,
        &project,
        "import torch\n\
         class Net(torch.nn.Module):\n\
         \x20   def forward(self, x):\n\
         \x20       return x.mean((2, 3)).amax(1, keepdim=True), torch.nn.functional.pad(x, (1, 2))\n\
         n = torch.export.Dim('n', min=1, max=9)\n\
         program = torch.export.export(Net(), (torch.zeros(2, 3, 4, 5),), dynamic_shapes={'x': {0: n}})\n\
         torch.export.save(program, 'net.pt2')\n",
    );
    project.run_ok();
    let told = description(&project, "net");
    assert_eq!(told["opset"], 17, "{told:#}");
    assert_eq!(told["source"]["warnings"], serde_json::json!([]), "{told:#}");
}

#[test]
fn names_of_inputs_and_outputs_are_taken_whole_or_in_order_and_never_mixed() {
    let Some(python) = torch() else { return };
    let make = "import torch\n\
        net = 'import torch\\n'\n\
        net += 'class Net(torch.nn.Module):\\n'\n\
        net += ' def __init__(self): super().__init__(); self.w = torch.nn.Parameter(torch.ones(1))\\n'\n\
        net += ' def forward(self, ids, mask): return {\"sum\": ids + mask * self.w, \"less\": ids - mask}\\n'\n\
        open('net.py', 'w').write(net)\n\
        torch.save({'w': torch.ones(1)}, 'net.pth')\n\
        torch.save({'module.w': torch.ones(1)}, 'parallel.pth')\n";
    let of = |file: &str, inputs: [&str; 2], more: &str| {
        let [a, b] = inputs;
        format!(
            "model: {file}, module: net.py, factory: Net, inputs: {{ {a}: {{ shape: [n, 3] }}, {b}: {{ shape: [n, 3] }} }}{more}"
        )
    };
    let own = ["ids", "mask"];
    let swapped = of("net.pth", own, ", outputs: [less, sum]");
    let renamed = of("net.pth", ["a", "b"], ", outputs: [x, y]");
    let good = project(&python, &[("swapped", &swapped), ("renamed", &renamed)]);
    written(&python, &good, make);
    good.run_ok();
    let names = |stage: &str, side: &str| -> Vec<String> {
        let tensors = description(&good, stage)[side].as_array().unwrap().clone();
        tensors.iter().map(|tensor| tensor["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("swapped", "outputs"), ["sum", "less"], "each stays what it is");
    assert_eq!(names("renamed", "outputs"), ["x", "y"]);
    assert_eq!(names("renamed", "inputs"), ["a", "b"]);
    assert_eq!(description(&good, "swapped")["opset"], 18);
    each_is_told(
        &python,
        make,
        &[
            (
                "mixed",
                &of("net.pth", own, ", outputs: [less, y]"),
                &[
                    "gives the name `less` to the output `sum`",
                    "in the model's order: `sum`, `less`",
                ],
            ),
            (
                "slip",
                &of("net.pth", ["ids", "maks"], ""),
                &["`forward` takes `ids`, `mask`, and `inputs:` declares `ids` and also `maks`"],
            ),
            ("parallel", &of("parallel.pth", own, ""), &["as DataParallel saves them"]),
        ],
    );
}
