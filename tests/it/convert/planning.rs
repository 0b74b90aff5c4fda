//! What happens while a Python is asked for its versions.

use rustix::process::Signal;

use super::{GOOD, PYTHON, failed, interrupted, is_gone, place_of, project, python};

/// Counts what it is asked, starts a child at the question with this number and is silent then.
fn silent_at(question: usize) -> String {
    format!(
        "#!/bin/sh\nhere=$(dirname \"$0\")\necho >>\"$here/asked\"\n\
         if [ \"$(wc -l <\"$here/asked\")\" -ge {question} ]; then\n\
         sleep 600 &\necho $! >\"$here/pid\"\nmv \"$here/pid\" \"$here/started\"\nwait\nfi\n\
         exec \"$here/real\" \"$@\"\n"
    )
}

#[test]
fn a_signal_ends_a_python_that_is_asked_and_what_it_started() {
    for (command, question) in [("plan", 1), ("run", 1), ("run", 2), ("run", 3)] {
        for signal in [Signal::INT, Signal::TERM] {
            let project = project(GOOD, "");
            python(&project, "real", &format!("{PYTHON}{GOOD}"));
            python(&project, "python", &silent_at(question));
            assert_eq!(interrupted(&project, command, signal), Some(130), "{command} {question}");
            assert!(is_gone(&project.read("started")), "{command} {question}");
            assert_eq!(project.read("asked").len(), question);
        }
    }
}

#[test]
fn a_silent_python_is_asked_once_and_no_longer_than_the_stage_may_take() {
    let project = project(GOOD, ", timeout_seconds: 1");
    python(&project, "python", &silent_at(1));
    let error = failed(&project.trt(&["run", "p.yaml"]), 3);
    assert!(
        error.contains("`[dir]/python` did not answer within 1 s when asked for its version"),
        "{error}"
    );
    assert!(error.contains(&place_of(&project, "1 }")), "{error}");
    assert!(error.contains("raise `timeout_seconds`, or name another Python"), "{error}");
    assert_eq!(project.read("asked").len(), 1);
    assert!(is_gone(&project.read("started")));
}
