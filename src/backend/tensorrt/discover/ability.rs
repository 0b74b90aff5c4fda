//! What a library can do on this machine, as far as that shows without trying.

use crate::backend::cuda::{CudaError, DeviceInfo};
use crate::backend::tensorrt::Flavor;
use crate::backend::tensorrt::generation::Generation;

use super::Found;

/// What a library can do on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// Whether it compiles models; if not, why.
    pub build: Result<(), String>,
    /// Whether it runs engines; if not, why.
    pub run: Result<(), String>,
}

impl Found {
    /// What the library can do with these GPUs.
    pub fn abilities(&self, gpus: &Result<Vec<DeviceInfo>, CudaError>) -> Abilities {
        let run = self.runs_on(gpus);
        let build = match (&self.parser, self.flavor) {
            (None, _) => Err("its ONNX parser is not beside it".to_owned()),
            (Some(_), Flavor::Rtx) => Ok(()),
            (Some(_), Flavor::Standard) => run.clone(),
        };
        Abilities { build, run }
    }

    fn runs_on(&self, gpus: &Result<Vec<DeviceInfo>, CudaError>) -> Result<(), String> {
        let gpus = gpus.as_ref().map_err(|_| "it needs an NVIDIA GPU".to_owned())?;
        if gpus.iter().any(|gpu| self.supports(gpu.compute_capability)) {
            return Ok(());
        }
        let here: Vec<String> = gpus
            .iter()
            .map(|gpu| {
                let (major, minor) = gpu.compute_capability;
                format!("{} (compute capability {major}.{minor})", gpu.name)
            })
            .collect();
        let needs = match self.generation {
            Generation::V8_6 => "GPUs up to compute capability 9.0",
            Generation::V10 | Generation::V11 => "GPUs of compute capability 7.5 or later",
            Generation::Rtx1_4 | Generation::Rtx1 => "RTX GPUs",
        };
        Err(format!("it is for {needs}; here is {}", here.join(", ")))
    }

    /// Whether the library's kernels are for GPUs of a compute capability.
    fn supports(&self, capability: (u32, u32)) -> bool {
        match self.generation {
            Generation::V8_6 => capability <= (9, 0),
            Generation::V10 | Generation::V11 => capability >= (7, 5),
            Generation::Rtx1_4 | Generation::Rtx1 => {
                matches!(capability, (7, 5) | (8, 0 | 6 | 9) | (12, _))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::backend::cuda::{CudaVersion, DeviceProperties};

    use super::super::Source;
    use super::*;

    fn found(flavor: Flavor, version: &str) -> Found {
        let version = version.parse().unwrap();
        Found {
            flavor,
            version,
            generation: Generation::of(flavor, version).unwrap(),
            runtime: "/x/lib.so".into(),
            parser: Some("/x/parser.so".into()),
            plugin: None,
            lean: None,
            dispatch: None,
            build_id: None,
            source: Source::System,
            warning: None,
        }
    }

    fn gpu(name: &str, compute_capability: (u32, u32)) -> DeviceInfo {
        DeviceInfo {
            ordinal: 0,
            name: name.to_owned(),
            uuid: String::new(),
            compute_capability,
            pci_bus_id: String::new(),
            total_memory: 0,
            multiprocessors: 1,
            properties: DeviceProperties::default(),
            attributes: BTreeMap::new(),
            driver_version: CudaVersion { major: 13, minor: 0 },
        }
    }

    /// Both answers in one text.
    fn can(found: &Found, gpus: &Result<Vec<DeviceInfo>, CudaError>) -> String {
        let Abilities { build, run } = found.abilities(gpus);
        let word = |answer: Result<(), String>| answer.err().unwrap_or_else(|| "yes".to_owned());
        format!("build: {}; run: {}", word(build), word(run))
    }

    #[test]
    fn without_a_gpu_only_tensorrt_rtx_builds() {
        let none = Err(CudaError::NoLibrary { searched: vec![] });
        assert_eq!(
            can(&found(Flavor::Rtx, "1.7.1.116"), &none),
            "build: yes; run: it needs an NVIDIA GPU"
        );
        assert_eq!(
            can(&found(Flavor::Standard, "10.13.3.9"), &none),
            "build: it needs an NVIDIA GPU; run: it needs an NVIDIA GPU"
        );
    }

    #[test]
    fn each_generation_is_for_certain_gpus() {
        let hopper = Ok(vec![gpu("NVIDIA H200", (9, 0))]);
        let ada = Ok(vec![gpu("NVIDIA GeForce RTX 4090", (8, 9))]);
        let blackwell = Ok(vec![gpu("NVIDIA B200", (10, 0))]);
        let both = "build: yes; run: yes";
        assert_eq!(can(&found(Flavor::Standard, "8.6.0.12"), &hopper), both);
        assert_eq!(can(&found(Flavor::Standard, "11.4.0.106"), &blackwell), both);
        assert_eq!(can(&found(Flavor::Rtx, "1.7.1.116"), &ada), both);
        assert_eq!(
            can(&found(Flavor::Rtx, "1.7.1.116"), &hopper),
            "build: yes; run: it is for RTX GPUs; here is NVIDIA H200 (compute capability 9.0)"
        );
        let why = "it is for GPUs up to compute capability 9.0; here is NVIDIA B200 (compute \
                   capability 10.0)";
        assert_eq!(
            can(&found(Flavor::Standard, "8.6.0.12"), &blackwell),
            format!("build: {why}; run: {why}")
        );
    }

    #[test]
    fn without_a_parser_engines_can_only_be_run() {
        let library = Found { parser: None, ..found(Flavor::Standard, "10.3.0.26") };
        assert_eq!(
            can(&library, &Ok(vec![gpu("NVIDIA H200", (9, 0))])),
            "build: its ONNX parser is not beside it; run: yes"
        );
    }
}
