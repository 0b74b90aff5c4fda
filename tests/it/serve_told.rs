//! What `serve` tells people while it watches.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::Project;
use crate::support::served::{Running, SPEC, adder, replace};

#[test]
fn people_read_what_happened_when_and_of_which_pipeline() {
    let project = Project::with_spec(SPEC);
    project.write("model.onnx", adder(1.0));
    let other = SPEC.replace("name: sum", "name: other");
    project.write("q.yaml", &other);
    let ports = ["--http", "127.0.0.1:0", "--grpc", "off", "--admin", "off"];
    let args = [&["serve", "p.yaml", "q.yaml", "--watch"], &ports[..]].concat();
    let mut program = Running::for_people(&mut project.command(&args));
    for heading in ["sum (p.yaml)", "other (q.yaml)"] {
        program.line(heading);
    }
    let [_, tensors, _] = ["sum ", "input  x float32 [", "watching "].map(|it| program.line(it));
    assert!(tensors.starts_with("    input"), "{tensors}");
    let renamed = other.replace("serve: { from: engine", "serve: { name: new, from: engine");
    replace(&project.file("q.yaml"), &renamed);
    let changed = program.line("q.yaml changed");
    let (clock, what) = changed.split_once(' ').unwrap();
    assert_eq!((clock.len(), &clock[2..3], &clock[8..]), (9, ":", "Z"), "{changed}");
    assert!(what.starts_with("other: q.yaml changed"), "{changed}");
    program.line("Z new: version 1 is served");
    program.line("Z other is served no more");
    std::fs::remove_file(project.file("q.yaml")).unwrap();
    program.line("Z other: what was served before still is");
    project.write("q.yaml", renamed);
    program.line("Z other: the spec is valid again");
    let first = |line: &&Value| line.as_str().is_some_and(|line| line.contains("sum: version 1"));
    assert_eq!(program.seen.iter().find(first), None, "the table of models says it");
    program.signal(Signal::TERM);
    let (_, ran) = program.end();
    assert_eq!(ran.status, 0, "{ran:#?}");
    assert!(ran.stderr.contains("failed to read the spec `q.yaml`"), "{ran:#?}");
    assert!(!ran.stderr.contains("trt-pipeline init"), "{ran:#?}");
}
