//! Tasks that tests run in processes of their own: this test binary started again.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use super::*;

/// The variable that tells [`child`] its task and the store's folder.
pub(super) const TASK: &str = "TRT_PIPELINE_STORE_TEST";

/// The arguments that make the test binary run [`child`] only.
pub(super) const ARGUMENTS: [&str; 3] = ["--exact", "artifact::tests::child::child", "--nocapture"];

/// Starts a process for a task in a store.
pub(super) fn spawn(task: &str, root: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(ARGUMENTS).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.env(TASK, format!("{task}:{}", root.display())).spawn().unwrap()
}

/// Waits until the child says a word.
#[track_caller]
pub(super) fn wait_for(child: &mut Child, word: &str) {
    let output = BufReader::new(child.stdout.as_mut().unwrap());
    assert!(output.lines().any(|line| line.unwrap().contains(word)));
}

fn say(word: &str) {
    println!("\n{word}");
    std::io::stdout().flush().unwrap();
}

/// Not a test of its own: what the processes of the other tests do.
#[test]
fn child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let (task, root) = task.split_once(':').unwrap();
    let store = Store::open(root.into());
    match task {
        "build" => drop(concurrency::build_once(&store)),
        "build forever" => {
            for n in 0.. {
                mounts::store_one(&store, n % 50).unwrap();
                if n % 10 == 9 {
                    store.flush().unwrap();
                }
                say(&format!("stored {n} "));
            }
        }
        "hold" => {
            let key = fingerprint(1).key();
            let _lock = store.lock_key(&key, &|| false).unwrap();
            let _lease = store.lease(&[key]).unwrap();
            let scratch = store.scratch().unwrap();
            fs::write(scratch.path().join("half"), b"written").unwrap();
            say("held");
            // Until killed.
            std::io::stdin().read_line(&mut String::new()).unwrap();
        }
        "full disk" => mounts::on_a_full_disk(&store),
        "before read-only" => drop(mounts::store_one(&store, 1).unwrap()),
        "read-only" => mounts::on_a_read_only_disk(&store),
        other => panic!("unknown task {other}"),
    }
}
