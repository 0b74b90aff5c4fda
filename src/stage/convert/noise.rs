//! What of an export's output is worth showing beside an error.

use std::path::Path;

/// In lines that TensorFlow and its libraries write whatever happens.
const NOISE: [&str; 9] = [
    "All log messages before absl::InitializeLog()",
    "oneDNN custom operations are on",
    "cpu_feature_guard.cc",
    "To enable the following instructions:",
    "Unable to register cu",
    "Attempting to register factory for plugin",
    "computation placer already registered",
    "failed call to cuInit",
    "WARNING:absl:",
];

/// The output without the phases, which were shown as they came, without known noise, and with paths
/// as they are within the folder of the export, which is gone afterwards.
pub(super) fn without_noise(output: &str, folder: &Path) -> String {
    let is_told = |line: &&str| {
        let is_noise = NOISE.iter().any(|noise| line.contains(noise));
        !is_noise && !line.starts_with("phase: ") && !is_information(line)
    };
    let lines: Vec<&str> = output.lines().filter(is_told).collect();
    lines.join("\n").replace(&format!("{}/", folder.display()), "").trim_end().to_owned()
}

/// Whether it is a line of TensorFlow's log of the least level, such as `I0000 00:00:1.2 7 port.cc:1]`.
fn is_information(line: &str) -> bool {
    let digits = line.strip_prefix('I').and_then(|rest| rest.split_once(' '));
    let is_log = digits.is_some_and(|(day, _)| day.len() == 4 && day.parse::<u16>().is_ok());
    is_log && line.contains("] ") || line.contains(": I tensorflow/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_of_the_error_is_left() {
        let output = "phase: loading TensorFlow\n\
            WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n\
            I0000 00:00:1795480225.359135   30145 port.cc:153] oneDNN custom operations are on.\n\
            I0000 00:00:1795480225.359136   30145 other.cc:1] something else\n\
            2026-11-24 00:00:00.1: I tensorflow/core/platform/cpu_feature_guard.cc:210] This binary\n\
            E0000 00:00:1795480225.4 1 cuda_dnn.cc:8579] Unable to register cuDNN factory\n\
            WARNING:absl:Compiled the loaded model\n\
            Traceback (most recent call last):\n\
            \x20 File \"/tmp/scratch-1/work/scripts/common.py\", line 1, in main\n\
            I0000 is no such tensor\n\
            E0000 00:00:1795480225.5 1 reader.cc:2] no such file\n\
            phase: saving\n";
        let left = without_noise(output, Path::new("/tmp/scratch-1/work"));
        assert_eq!(
            left,
            "Traceback (most recent call last):\n  File \"scripts/common.py\", line 1, in main\n\
             I0000 is no such tensor\nE0000 00:00:1795480225.5 1 reader.cc:2] no such file"
        );
    }
}
