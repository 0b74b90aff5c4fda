use super::*;

fn parse_with(text: &str, set: &[(&str, &str)]) -> Result<PipelineSpec, InvalidSpec> {
    let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let source = Arc::new(SourceFile::new("p.yaml", text));
    PipelineSpec::parse(Path::new("some/folder/p.yaml"), source, &Overrides { set })
}

fn settings(text: &str, set: &[(&str, &str)]) -> serde_json::Value {
    parse_with(text, set).unwrap().stages[0].stage.settings()
}

fn codes(text: &str) -> Vec<&'static str> {
    parse_with(text, &[]).unwrap_err().errors.iter().map(|error| error.code).collect()
}

const SPEC: &str = "version: 1
vars: { word: hello, many: [a, b], flag: true, number: 7 }
stages:
  a:
    command:
      run: [echo, \"${word}\", \"x-${number}-${flag}\", \"$${HOME}\", \"${inputs.i}\"]
      inputs: { i: in.txt }
      deterministic: \"${flag}\"
";

#[test]
fn placeholders_take_the_type_of_the_variable_or_become_text() {
    let spec = parse_with(SPEC, &[]).unwrap();
    let run = &spec.stages[0].stage.settings()["run"];
    assert_eq!(run, &serde_json::json!(["echo", "hello", "x-7-true", "${HOME}", "${inputs.i}"]));
    assert!(spec.stages[0].stage.deterministic(&std::collections::BTreeMap::new()));
}

#[test]
fn set_overrides_a_variable_with_a_yaml_scalar() {
    let run = settings(SPEC, &[("word", "bye"), ("number", "0x10")])["run"].clone();
    assert_eq!(run[1], "bye");
    assert_eq!(run[2], "x-0x10-true");
    let quoted = parse_with(SPEC, &[("flag", "\"true\"")]).unwrap_err();
    assert_eq!(quoted.errors[0].code, "spec::type", "a quoted value is text");
    let unknown = parse_with(SPEC, &[("wrod", "x")]).unwrap_err();
    assert!(unknown.errors[0].help.as_ref().unwrap().contains("word"));
}

#[test]
fn a_whole_list_may_come_from_a_variable() {
    let text = SPEC.replace(
        "run: [echo, \"${word}\", \"x-${number}-${flag}\", \"$${HOME}\", \"${inputs.i}\"]",
        "run: \"${many}\"",
    );
    assert_eq!(settings(&text, &[])["run"], serde_json::json!(["a", "b"]));
    let inside = SPEC.replace("x-${number}", "x-${many}");
    assert_eq!(codes(&inside), ["spec::placeholder_type"]);
}

#[test]
fn how_a_value_got_there_does_not_change_the_settings() {
    let literal = SPEC.replace("${word}", "hello").replace("${number}", "7");
    assert_eq!(settings(SPEC, &[]), settings(&literal, &[]));
}

#[test]
fn the_environment_is_text_where_text_is_wanted_and_a_scalar_elsewhere() {
    let text = "version: 1
stages:
  a: { command: { run: [\"${env.TRT_SURELY_UNSET:-12}\"], timeout_seconds: \"${env.TRT_SURELY_UNSET:-12}\" } }
";
    assert_eq!(settings(text, &[])["run"][0], "12");
}

#[test]
fn a_pipeline_without_a_name_is_called_after_its_file_or_folder() {
    assert_eq!(default_name(Path::new("/x/digits/pipeline.yaml")), "digits");
    assert_eq!(default_name(Path::new("/x/digits/other.yaml")), "other");
    assert_eq!(default_name(Path::new("/x/1 2/pipeline.yaml")), "p1_2");
}

#[test]
fn placeholders_stand_only_where_they_mean_something() {
    assert_eq!(
        codes("version: 1\nstages: { a: { convert: { model: \"${inputs.x}\" } } }\n"),
        ["spec::placeholder_place"]
    );
    assert_eq!(
        codes("version: 1\nstages: { \"${x}\": { command: { run: [a] } } }\n"),
        ["spec::name"]
    );
}

#[test]
fn settings_of_tensorrt_may_come_from_variables_and_mean_the_same_in_every_spelling() {
    let spec = |vars: &str, tensorrt: &str| {
        format!(
            "version: 1\nvars: {{ {vars} }}\nstages:\n  a:\n    build: {{ from: onnx, \
             compute_capabilities: [\"8.0\"], tensorrt: {tensorrt} }}\n"
        )
    };
    let written = spec("x: 1", "{ workspace: 4294967296, tf32: false, refit: all }");
    let with_unit = spec("x: 1", "{ refit: all, tf32: false, workspace: 4 GiB }");
    let variables = spec(
        "size: 4GiB, off: false, all: all",
        "{ workspace: \"${size}\", tf32: \"${off}\", refit: \"${all}\" }",
    );
    let whole = spec("all: { workspace: 4GiB, tf32: false, refit: all }", "\"${all}\"");
    let expected = serde_json::json!({
        "compute_capabilities": ["8.0"],
        "tensorrt": { "workspace": 4_294_967_296_u64, "tf32": false, "refit": "all" },
    });
    for text in [written, with_unit, variables, whole] {
        assert_eq!(settings(&text, &[]), expected, "{text}");
    }
}

#[test]
fn a_key_that_belongs_one_level_up_is_told_so() {
    let help = |text: &str| parse_with(text, &[]).unwrap_err().errors[0].help.clone().unwrap();
    let stage = |settings: &str| format!("version: 1\nstages:\n  a: {settings}\n");
    let inside = "{ build: { from: onnx, tensorrt: { compute_capabilities: [\"8.0\"] } } }";
    assert_eq!(
        help(&stage(inside)),
        "`compute_capabilities` is a key of `build`, beside `tensorrt`"
    );
    let deeper =
        "{ validate: { from: a, compare: { max_abs: 1, outputs: { y: { data: x.npz } } } } }";
    assert_eq!(help(&stage(deeper)), "`data` is a key of `validate`, beside `compare`");
    let nowhere = "{ build: { from: onnx, tensorrt: { workspaces: 1 } } }";
    assert_eq!(help(&stage(nowhere)), "did you mean `workspace`?");
}
