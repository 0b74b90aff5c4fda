//! Every way in which an export can end.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::{Pid, Signal, kill_process};

use super::{GOOD, failed, interrupted, is_gone, place_of, project, wait_for};

#[test]
fn every_way_in_which_an_export_ends_badly_is_told() {
    let long = "'x' * 5000000";
    for (body, status, told) in [
        (
            "print('all is well')\n",
            1,
            "without an error, but wrote no result; its last output: | all is well",
        ),
        (
            "open(request['result'], 'w').write('{\"format\": 1')\n",
            1,
            "its result is not what it should be",
        ),
        ("result(format=2)\n", 1, "its result is of format 2, expected 1"),
        ("os.mkfifo(request['result'])\n", 1, "wrote no result"),
        (&format!("result(warnings=[{long}])\n"), 1, "its result is larger than 4 MiB"),
        ("cases(); result()\n", 1, "wrote no model.onnx"),
        ("model('other.onnx'); cases(); result()\n", 1, "wrote no model.onnx"),
        (
            "os.symlink(HERE + '/model.onnx', request['out'] + '/model.onnx'); cases(); result()\n",
            1,
            "wrote no model.onnx",
        ),
        (
            "model(); cases(); result(outputs=['z'])\n",
            1,
            "the model has the outputs [y], its result says [z]",
        ),
        (
            "model(); cases(); result(inputs=[])\n",
            1,
            "the model has the inputs [x], its result says []",
        ),
        (
            "open(request['out'] + '/model.onnx', 'w').write('<html>'); cases(); result()\n",
            1,
            "is not an ONNX model: it looks like an HTML page",
        ),
        ("model(); result()\n", 1, "wrote no samples to compare on"),
        (
            "model(); cases(); os.remove(request['cases'] + '/1/outputs.npz'); result()\n",
            1,
            "sample 1 cannot be compared: failed to read",
        ),
        (
            "model(); cases(); shutil.copy(HERE + '/cases/0/outputs.npz', request['cases'] + '/1'); result()\n",
            1,
            "output `y` has shape [3,2] in the exported model, and [1,2] in the framework",
        ),
        (
            "model(); cases(); shutil.copy(HERE + '/cases/0/outputs.npz', request['cases'] + '/0/inputs.npz'); result()\n",
            1,
            "sample 0 cannot be compared",
        ),
        (
            "print('no such tensor', file=sys.stderr); sys.exit(1)\n",
            1,
            "the export exited with status 1; its last output: | no such tensor",
        ),
        ("model(); cases(); result(); sys.exit(1)\n", 1, "the export exited with status 1"),
        ("sys.exit(3)\n", 1, "the export exited with status 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)\n", 1, "the export was killed by signal 9"),
        ("os.abort()\n", 1, "the export was killed by signal 6"),
        (
            "refuse('unsupported_operator', 'no ONNX for aten::frob\\x1b[31m', 'use another')\n",
            1,
            "no ONNX for aten::frob[31m",
        ),
        (
            "refuse('missing_package', 'exporting needs `tf2onnx`', '', 'tf2onnx')\n",
            3,
            "-m pip install tf2onnx`",
        ),
        (
            "refuse('missing_package', 'needs both', '', 'tensorflow-cpu tf2onnx')\n",
            3,
            "-m pip install tensorflow-cpu tf2onnx`",
        ),
        ("refuse('missing_package', 'needs', 'look it up', '; rm -rf x')\n", 1, "look it up"),
        ("refuse('', '', '')\n", 1, "the export failed and gives no reason"),
    ] {
        let error = failed(&project(body, "").trt(&["run", "p.yaml"]), status);
        assert!(error.contains(told), "{body}{error}");
    }
}

#[test]
fn a_flood_of_output_does_no_harm_and_its_end_is_shown() {
    let body = "line = 'x' * 99 + '\\n'\nfor _ in range(1000): sys.stdout.write(line * 1000); sys.stderr.write(line * 10)\nprint('the last', file=sys.stderr); sys.exit(1)\n";
    let project = project(body, "");
    let ran = project.trt(&["run", "p.yaml", "--format", "json"]);
    assert_eq!(ran.status, 1);
    assert!(ran.stdout.contains("the last"), "{}", ran.stdout.len());
    assert!(ran.stdout.len() < 1 << 20, "{}", ran.stdout.len());
}

#[test]
fn an_export_that_hangs_is_ended_with_its_children() {
    let body = "child = subprocess.Popen(['sleep', '600'])\nopen(HERE + '/pid', 'w').write(str(child.pid))\ntime.sleep(600)\n";
    let project = project(body, ", timeout_seconds: 8");
    let error = failed(&project.trt(&["run", "p.yaml"]), 1);
    assert!(error.contains("the export did not end within 8 s and was killed"), "{error}");
    assert!(is_gone(&project.read("pid")));
}

#[test]
fn a_child_left_behind_neither_keeps_the_stage_waiting_nor_lives_on() {
    let body = format!(
        "child = subprocess.Popen(['sleep', '600'])\nopen(HERE + '/pid', 'w').write(str(child.pid))\n{GOOD}"
    );
    let project = project(&body, "");
    project.run_ok();
    assert!(is_gone(&project.read("pid")));
}

#[test]
fn an_interrupt_ends_an_export() {
    let body = "open(HERE + '/pid', 'w').write(str(os.getpid()))\nos.rename(HERE + '/pid', HERE + '/started')\ntime.sleep(600)\n";
    let project = project(body, "");
    assert_eq!(interrupted(&project, "run", Signal::INT), Some(130));
    assert!(is_gone(&project.read("started")));
    assert!(project.stored().is_empty(), "{:?}", project.stored());
}

#[test]
fn a_second_interrupt_kills_an_export_that_heeds_none() {
    for second in [Signal::INT, Signal::QUIT] {
        let body = "for each in (signal.SIGINT, signal.SIGTERM): signal.signal(each, lambda *_: open(HERE + '/heard', 'w'))\n\
            child = subprocess.Popen(['sh', '-c', 'trap \"\" TERM; sleep 600; :'])\n\
            open(HERE + '/pid', 'w').write(str(child.pid))\nos.rename(HERE + '/pid', HERE + '/started')\n\
            while True: time.sleep(1)\n";
        let project = project(body, "");
        let mut running = project.command(&["run", "p.yaml"]).spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(running.id()).unwrap()).unwrap();
        wait_for(&project, "started");
        kill_process(pid, Signal::INT).unwrap();
        wait_for(&project, "heard");
        kill_process(pid, second).unwrap();
        assert_eq!(running.wait().unwrap().code(), Some(130));
        assert!(is_gone(&project.read("started")));
    }
}

#[test]
fn a_model_that_has_another_name_is_copied_and_that_name_left_as_it_is() {
    let body = "shutil.copy(HERE + '/model.onnx', HERE + '/mine.onnx'); os.chmod(HERE + '/mine.onnx', 0o600)\n\
        os.link(HERE + '/mine.onnx', request['out'] + '/model.onnx'); cases(); result()\n";
    let project = project(body, "");
    project.run_ok();
    let mode = fs::metadata(project.file("mine.onnx")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_limit_of_memory_that_was_too_low_is_named_however_that_showed() {
    for body in [
        "hoard = bytearray(512 << 20)\n",
        "refuse('export', \"RuntimeError: DefaultCPUAllocator: can't allocate memory\", '')\n",
        "refuse('export', 'ImportError: libtorch.so: failed to map segment from shared object', '')\n",
        "print('terminate called after throwing std::bad_alloc', flush=True); os.abort()\n",
    ] {
        let project = project(body, ", memory_limit_mib: 256");
        let error = failed(&project.trt(&["run", "p.yaml"]), 1);
        let told = "the export needs more than the 256 MiB that `memory_limit_mib` allows";
        assert!(error.contains(told), "{body}{error}");
        assert!(error.contains("raise `memory_limit_mib`, or leave it out"), "{body}{error}");
        assert!(error.contains(&place_of(&project, "256")), "{body}{error}");
    }
}

#[test]
fn only_a_kill_by_the_system_is_laid_to_its_memory() {
    for (signal, memory, limit) in [
        ("SIGKILL", true, false),
        ("SIGSEGV", false, true),
        ("SIGABRT", false, true),
        ("SIGTERM", false, false),
    ] {
        let body = format!("os.kill(os.getpid(), signal.{signal}); time.sleep(600)\n");
        let error = failed(&project(&body, "").trt(&["run", "p.yaml"]), 1);
        assert_eq!(error.contains("when memory runs out"), memory, "{error}");
        assert!(!error.contains("memory_limit_mib"), "{error}");
        let limited = project(&body, ", memory_limit_mib: 4096");
        let error = failed(&limited.trt(&["run", "p.yaml"]), 1);
        assert!(error.contains("the export was killed by signal"), "{error}");
        // PyTorch without memory ends so as well.
        assert_eq!(error.contains("raise `memory_limit_mib`"), limit, "{error}");
    }
}

#[test]
fn a_limit_of_time_is_named_at_its_place() {
    let project = project("time.sleep(600)\n", ", timeout_seconds: 2");
    let error = failed(&project.trt(&["run", "p.yaml"]), 1);
    assert!(error.contains(&place_of(&project, "2 }")), "{error}");
}
