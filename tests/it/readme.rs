//! What the README says is so.

use std::collections::BTreeMap;
use std::path::Path;

use trt_pipeline::spec::schema::pipeline_schema;
use trt_pipeline::stage::KINDS;

use crate::convert_frameworks::torch;
use crate::support::{Project, fixture, repository};

fn readme() -> String {
    std::fs::read_to_string(repository().join("README.md")).unwrap()
}

/// The fenced blocks of a language, in order.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(fence) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if fence == language {
            found.push(block.join("\n") + "\n");
        }
    }
    assert!(!found.is_empty(), "the README has no `{language}` block");
    found
}

/// The `text` block in which a line starts with this.
fn block_with(start: &str) -> String {
    let blocks = blocks(&readme(), "text");
    let found = blocks.iter().find(|block| block.lines().any(|line| line.starts_with(start)));
    found.unwrap_or_else(|| panic!("no block has a line that starts with `{start}`")).clone()
}

/// The rows of the table whose first heading this is, as trimmed cells.
fn table(heading: &str) -> Vec<Vec<String>> {
    let text = readme();
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&format!("| {heading} |")));
    assert!(lines.next().is_some(), "the README has no table of `{heading}`");
    lines
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

/// The words in backticks of a cell.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The example of a script for `convert`.
fn own_export() -> String {
    let scripts = blocks(&readme(), "python");
    scripts.into_iter().find(|script| script.contains("def export(request)")).unwrap()
}

fn project_with_digits() -> Project {
    let project = Project::empty();
    for file in ["model/digits_cnn.onnx", "data/calibration.npz", "data/holdout.npz"] {
        project.copy(&repository().join("pipelines/digits").join(file), file);
    }
    project.copy(&fixture("source_models/script.pt"), "net.pt");
    project.write("export.py", own_export());
    project
}

#[test]
fn every_stage_kind_has_a_row_with_all_its_settings() {
    let schema = pipeline_schema();
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in table("kind") {
        rows.insert(quoted(&row[0])[0].clone(), quoted(&row[3]));
    }
    let listed: Vec<&String> = rows.keys().collect();
    let mut kinds = KINDS.to_vec();
    kinds.sort_unstable();
    assert_eq!(listed, kinds);
    for (kind, mut settings) in rows {
        let reference = &schema["definitions"]["Stage"]["properties"][&kind]["$ref"];
        let definition = reference.as_str().unwrap().rsplit('/').next().unwrap();
        let properties = schema["definitions"][definition]["properties"].as_object().unwrap();
        let mut known: Vec<&String> = properties.keys().collect();
        known.sort();
        settings.sort();
        assert_eq!(settings.iter().collect::<Vec<_>>(), known, "settings of `{kind}`");
    }
}

#[test]
fn every_setting_of_tensorrt_is_with_the_versions_that_have_it() {
    let schema = pipeline_schema();
    let properties = schema["definitions"]["TensorRt"]["properties"].as_object().unwrap();
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, property) in properties {
        let text = property["description"].as_str().unwrap();
        match text.rsplit_once(" Available in ") {
            Some((_, versions)) => {
                let versions = versions.trim_end_matches('.').to_owned();
                known.entry(versions).or_default().push(name.clone());
            }
            None => assert!(readme().contains(&format!("`{name}`")), "{name} is not named"),
        }
    }
    let rows = table("setting of `tensorrt`").into_iter();
    let mut listed: BTreeMap<String, Vec<String>> =
        rows.map(|row| (row[1].clone(), quoted(&row[0]))).collect();
    for settings in listed.values_mut() {
        settings.sort();
    }
    assert_eq!(listed, known);
}

/// The commands that a help text lists.
fn commands_in(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = list.take_while(|line| !line.is_empty());
    let names = names.map(|line| line.split_whitespace().next().unwrap().to_owned());
    names.filter(|name| name != "help").collect()
}

#[test]
fn every_command_has_a_row() {
    let project = Project::empty();
    let mut commands = Vec::new();
    for command in commands_in(&project.trt(&["--help"]).stdout) {
        let inner = project.trt(&[&command, "--help"]).stdout;
        if inner.contains("\nCommands:\n") {
            commands.extend(commands_in(&inner).iter().map(|inner| format!("{command} {inner}")));
        } else {
            commands.push(command);
        }
    }
    assert!(commands.len() > 8, "{commands:?}");
    let is_argument = |word: &&str| word.contains(|c: char| c.is_ascii_uppercase());
    let rows: Vec<String> = table("command")
        .iter()
        .map(|row| {
            let shown = quoted(&row[0])[0].clone();
            let words: Vec<&str> = shown.split(' ').take_while(|word| !is_argument(word)).collect();
            words.join(" ")
        })
        .collect();
    let (mut listed, mut known) = (rows, commands);
    listed.sort();
    known.sort();
    assert_eq!(listed, known);
}

#[test]
fn exit_codes_are_those_of_the_help() {
    let help = Project::empty().trt(&["--help"]).stdout;
    let words: Vec<&str> = help.split_whitespace().collect();
    let text = words.join(" ");
    let list = text.split("Exit status: ").nth(1).unwrap().trim_end_matches('.');
    let known: Vec<Vec<String>> = list
        .split(", ")
        .map(|entry| {
            let (code, meaning) = entry.split_once(' ').unwrap();
            vec![code.to_owned(), meaning.to_owned()]
        })
        .collect();
    assert_eq!(table("exit"), known);
}

#[test]
fn every_spec_is_valid() {
    let specs = blocks(&readme(), "yaml");
    assert!(specs.len() > 1, "{specs:?}");
    for spec in specs {
        assert!(spec.starts_with("version: 1\n"), "not a whole spec:\n{spec}");
        let project = project_with_digits();
        project.write("pipeline.yaml", &spec);
        let ran = project.trt(&["check", "pipeline.yaml"]);
        assert_eq!(ran.status, 0, "{spec}\n{ran:#?}");
    }
}

/// A spec without its comments.
fn without_comments(text: &str) -> String {
    let lines = text.lines().map(|line| line.split(" #").next().unwrap().trim_end());
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.to_owned() + "\n").collect()
}

#[test]
fn the_export_of_ones_own_works_and_gets_what_is_listed() {
    let Some(python) = torch() else { return };
    let specs = blocks(&readme(), "yaml");
    let spec = specs.iter().find(|spec| spec.contains("script: export.py")).unwrap();
    let project =
        Project::with_spec(&spec.replace("venv: ../venv", &format!("python: '{python}'")));
    project.copy(&fixture("convert/torch/digits.pt"), "net.pt");
    project.write("export.py", own_export()).run_ok();
    let told = project.read("build/own/onnx/convert.json");
    assert!(told.contains("\"comparison\"") && told.contains("\"batch\""), "{told}");
    project
        .write("export.py", "def export(request): raise ValueError(' '.join(sorted(request)))\n");
    let ran = project.trt(&["run", "p.yaml", "--format", "json"]);
    let mut fields: Vec<String> =
        table("of `request`").iter().flat_map(|row| quoted(&row[0])).collect();
    fields.sort();
    assert!(ran.stdout.contains(&format!("ValueError: {} (", fields.join(" "))), "{ran:#?}");
}

/// So that the text around them holds for both.
#[test]
fn specs_that_are_examples_are_those_examples() {
    let example = |name: &str| {
        let path = repository().join("pipelines/digits").join(name);
        without_comments(&std::fs::read_to_string(path).unwrap())
    };
    let specs = blocks(&readme(), "yaml");
    assert_eq!(specs[0], example("pipeline.yaml"));
    let for_tensorrt = specs.iter().find(|spec| spec.contains("backend: tensorrt"));
    assert_eq!(*for_tensorrt.unwrap(), example("tensorrt-rtx.yaml"));
}

#[test]
fn the_error_looks_as_shown() {
    let project = project_with_digits();
    let spec = blocks(&readme(), "yaml")[0].replace("from: slim", "from: slin");
    project.write("pipeline.yaml", spec);
    let ran = project.trt(&["check", "pipeline.yaml"]);
    assert_eq!(ran.status, 2, "{ran:#?}");
    assert_eq!(block_with("plan::unknown_stage").trim(), ran.stderr.trim());
}

/// A line without what depends on the machine: times and keys.
fn same_everywhere(line: &str) -> String {
    let is_time = |word: &str| word == "ms" || word == "s" || word.parse::<f64>().is_ok();
    let is_key = |word: &str| word.len() == 12 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let words = line.split_whitespace().filter(|word| !is_time(word) && !is_key(word));
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_first_run_and_the_plan_after_an_edit_look_as_shown() {
    let project = project_with_digits();
    project.write("pipeline.yaml", &blocks(&readme(), "yaml")[0]);
    let compare = |shown: &str, ran: &crate::support::Ran| {
        assert_eq!(ran.status, 0, "{ran:#?}");
        let shown: Vec<String> = shown.trim_end().lines().map(same_everywhere).collect();
        let seen: Vec<String> = ran.stdout.trim_end().lines().map(same_everywhere).collect();
        assert_eq!(shown, seen);
    };
    compare(&block_with("5 stages: 0 cached"), &project.trt(&["run", "pipeline.yaml"]));
    assert!(readme().contains("`5 stages: 5 cached, 0 built`"));
    let again = project.trt(&["run", "pipeline.yaml"]);
    assert!(again.stdout.contains("5 stages: 5 cached, 0 built in "), "{again:#?}");
    let plan = ["plan", "--explain", "pipeline.yaml", "--set", "max_batch=64"];
    let shown = block_with("$ trt-pipeline plan --explain");
    compare(shown.split_once('\n').unwrap().1, &project.trt(&plan));
}

#[test]
fn the_search_for_nodes_to_keep_looks_as_shown() {
    let project = project_with_digits();
    let specs = blocks(&readme(), "yaml");
    project.write("pipeline.yaml", specs.iter().find(|spec| spec.contains("search:")).unwrap());
    let ran = project.trt(&["run", "pipeline.yaml", "int8"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    let lines = |text: &str| -> Vec<String> {
        let lines = text.trim_end().lines().map(same_everywhere);
        lines.skip_while(|line| !line.starts_with("int8 calibrate")).collect()
    };
    assert_eq!(lines(&block_with("  int8         calibrate")), lines(&ran.stdout));
}

#[test]
fn every_event_is_named() {
    let schema = trt_pipeline::execute::event::events_schema_text();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let events = schema["oneOf"].as_array().unwrap();
    assert!(events.len() > 5, "{schema}");
    for event in events {
        let name = event["properties"]["event"]["const"].as_str().unwrap();
        assert!(readme().contains(&format!("`{name}`")), "event `{name}` is not in the README");
    }
}

/// The relative targets of links, and the paths that commands name.
fn paths(text: &str) -> Vec<String> {
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links = links.filter(|link| !link.contains("://")).map(str::to_owned);
    let folders = [".ci/", "ffi/", "pipelines/", "schemas/", "src/", "tests/"];
    let words = text.split(|c: char| c.is_whitespace() || "`()[],;".contains(c));
    let words = words.filter(|word| folders.iter().any(|folder| word.starts_with(folder)));
    links.chain(words.map(str::to_owned)).collect()
}

fn every_path_exists_in(document: &str) {
    let path = repository().join(document);
    let text = std::fs::read_to_string(&path).unwrap();
    for named in paths(&text) {
        let target = named.split('#').next().unwrap();
        let beside = path.parent().unwrap_or(Path::new("")).join(target);
        let exists = beside.exists() || repository().join(target).exists();
        assert!(exists, "{document} names {named}, which does not exist");
    }
}

#[test]
fn every_path_exists() {
    assert!(paths(&readme()).len() > 15, "{:?}", paths(&readme()));
    for document in ["README.md", "CHANGELOG.md", "ffi/README.md"] {
        every_path_exists_in(document);
    }
}
