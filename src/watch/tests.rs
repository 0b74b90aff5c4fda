use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc;

use super::*;

/// A folder, what watches in it, and what was told.
struct Watched {
    folder: tempfile::TempDir,
    watcher: Watcher,
    told: mpsc::Receiver<BTreeSet<PathBuf>>,
}

const DEADLINE: Duration = Duration::from_secs(20);

impl Watched {
    fn new(poll: Option<Duration>) -> Self {
        let (sender, told) = mpsc::channel();
        let watcher = Watcher::new(poll, move |paths| drop(sender.send(paths))).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), watcher, told }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Watches these and waits until nothing about them can be missed.
    fn watch(&self, names: &[&str]) {
        let paths: BTreeSet<PathBuf> = names.iter().map(|name| self.at(name)).collect();
        self.watcher.watch(paths.clone());
        assert_eq!(self.told.recv_timeout(DEADLINE).unwrap(), paths, "new paths are told");
    }

    /// What is told next, by name.
    fn next(&self) -> Vec<String> {
        let paths = self.told.recv_timeout(DEADLINE).expect("nothing was told");
        let name =
            |path: &PathBuf| path.strip_prefix(self.folder.path()).unwrap().display().to_string();
        paths.iter().map(name).collect()
    }

    /// That nothing was told of what happened before: a change of `sentinel` comes first.
    fn nothing_but(&self, sentinel: &str) {
        self.write(sentinel, "sentinel");
        assert_eq!(self.next(), [sentinel]);
    }
}

fn both(test: impl Fn(Watched)) {
    test(Watched::new(None));
    test(Watched::new(Some(Duration::from_millis(20))));
}

#[test]
fn a_file_is_told_however_it_is_changed() {
    both(|watched| {
        watched.write("model.onnx", "1");
        watched.watch(&["model.onnx"]);
        watched.write("model.onnx", "22");
        assert_eq!(watched.next(), ["model.onnx"], "written in place");
        watched.write("model.onnx.tmp", "333");
        fs::rename(watched.at("model.onnx.tmp"), watched.at("model.onnx")).unwrap();
        assert_eq!(watched.next(), ["model.onnx"], "replaced by a rename");
        fs::remove_file(watched.at("model.onnx")).unwrap();
        assert_eq!(watched.next(), ["model.onnx"], "removed");
        watched.write("model.onnx", "4444");
        assert_eq!(watched.next(), ["model.onnx"], "made anew");
    });
}

#[test]
fn what_happens_beside_the_watched_is_not_told() {
    both(|watched| {
        watched.write("spec.yaml", "1");
        watched.write("sentinel", "1");
        watched.watch(&["spec.yaml", "sentinel"]);
        watched.write(".spec.yaml.swp", "swap");
        watched.write("build/other", "output");
        assert_eq!(fs::read_to_string(watched.at("spec.yaml")).unwrap(), "1");
        watched.nothing_but("sentinel");
    });
}

#[test]
fn a_folder_is_told_with_all_that_is_in_it_and_all_that_comes() {
    both(|watched| {
        watched.write("data/a/one", "1");
        watched.watch(&["data"]);
        watched.write("data/a/one", "22");
        assert_eq!(watched.next(), ["data"]);
        watched.write("data/new/deeper/two", "2");
        assert_eq!(watched.next(), ["data"]);
        watched.write("data/new/deeper/two", "22");
        assert_eq!(watched.next(), ["data"], "also in a folder that is new");
    });
}

#[test]
fn a_path_whose_folders_do_not_exist_yet_is_told_when_they_do() {
    both(|watched| {
        watched.watch(&["later/on/model.onnx"]);
        watched.write("later/on/model.onnx", "1");
        assert_eq!(watched.next(), ["later/on/model.onnx"]);
        watched.write("later/on/model.onnx", "22");
        assert_eq!(watched.next(), ["later/on/model.onnx"]);
    });
}

#[test]
fn links_that_are_swapped_change_what_lies_behind_them() {
    both(|watched| {
        watched.write("v1/data/x", "1");
        watched.write("v2/data/x", "22");
        let point_to = |target: &str| {
            let _ = fs::remove_file(watched.at("next"));
            symlink(target, watched.at("next")).unwrap();
            fs::rename(watched.at("next"), watched.at("current")).unwrap();
        };
        point_to("v1");
        watched.watch(&["current/data/x"]);
        point_to("v2");
        assert_eq!(watched.next(), ["current/data/x"]);
        watched.write("v2/data/x", "333");
        assert_eq!(watched.next(), ["current/data/x"], "the new target is watched");
    });
}

#[test]
fn a_folder_above_that_is_replaced_is_a_change() {
    both(|watched| {
        watched.write("project/data/deep/x", "1");
        watched.write("other/data/deep/x", "22");
        watched.watch(&["project/data/deep/x"]);
        fs::rename(watched.at("project"), watched.at("old")).unwrap();
        fs::rename(watched.at("other"), watched.at("project")).unwrap();
        assert_eq!(watched.next(), ["project/data/deep/x"]);
        watched.write("project/data/deep/x", "333");
        assert_eq!(watched.next(), ["project/data/deep/x"]);
    });
}

#[test]
fn many_changes_at_once_are_told_together() {
    both(|watched| {
        let names: Vec<String> = (0..200).map(|at| format!("files/{at:03}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        watched.watch(&names);
        for name in &names {
            watched.write(name, "x");
        }
        assert_eq!(watched.next(), names);
    });
}

#[test]
fn paths_are_watched_and_left_alone_as_last_said() {
    both(|watched| {
        watched.write("old", "1");
        watched.write("new", "1");
        watched.watch(&["old"]);
        watched.watch(&["new"]);
        watched.write("old", "22");
        watched.nothing_but("new");
    });
}

#[test]
fn links_in_a_circle_end() {
    both(|watched| {
        symlink("b", watched.at("a")).unwrap();
        symlink("a", watched.at("b")).unwrap();
        fs::create_dir(watched.at("data")).unwrap();
        symlink(Path::new("../data"), watched.at("data/self")).unwrap();
        watched.watch(&["a", "data"]);
        watched.write("data/x", "1");
        assert_eq!(watched.next(), ["data"]);
    });
}
