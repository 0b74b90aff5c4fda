//! Whether an engine runs here, answered before TensorRT is given it.
//!
//! TensorRT's own answer comes late and says little; this one says why and what to do. It refuses
//! only what TensorRT is sure to refuse. Pure: facts in, a reason out.

use super::generation::LibraryVersion;
use super::{EngineFacts, Flavor, HardwareCompatibility};

/// What an engine would run on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Here<'a> {
    pub(super) flavor: Flavor,
    pub(super) version: LibraryVersion,
    /// The GPU's number.
    pub(super) device: u32,
    /// The GPU's name.
    pub(super) gpu: &'a str,
    pub(super) compute_capability: (u32, u32),
}

/// How plans of each library begin: `trtexec --getPlanVersionOnly` knows the one, every plan of
/// TensorRT-RTX 1.7 begins with the other.
const TAGS: [(&[u8], Flavor); 2] = [(b"ftrt", Flavor::Standard), (b"vtrt", Flavor::Rtx)];

/// Ampere.
const FIRST_AMPERE: (u32, u32) = (8, 0);

/// Why an engine does not run here, where that is certain.
pub(super) fn objection(
    plan: &[u8],
    facts: Option<&EngineFacts>,
    here: Here<'_>,
) -> Option<String> {
    let product = here.flavor.product();
    let tag = TAGS.iter().find(|(tag, _)| plan.starts_with(tag)).map(|&(_, flavor)| flavor);
    let made_by = tag.or(facts.map(|facts| facts.flavor));
    if let Some(other) = made_by.filter(|&flavor| flavor != here.flavor) {
        let other = other.product();
        return Some(format!(
            "it is an engine of {other}, and the library found here is {product}: \
             choose {other} (`tensorrt.flavor`), or build it again here"
        ));
    }
    let facts = facts?;
    version(facts, here).or_else(|| gpu(facts, here))
}

/// TensorRT-RTX is asked itself: it knows which versions' engines it takes.
fn version(facts: &EngineFacts, here: Here<'_>) -> Option<String> {
    let built: LibraryVersion = facts.version.parse().ok()?;
    let of = |version: LibraryVersion| (version.major, version.minor, version.patch);
    let takes = if facts.version_compatible {
        of(here.version) >= of(built)
    } else {
        of(here.version) == of(built)
    };
    if takes || here.flavor == Flavor::Rtx {
        return None;
    }
    let product = here.flavor.product();
    let (major, minor, patch) = of(here.version);
    let compatible = if facts.version_compatible { " or a later one" } else { "" };
    Some(format!(
        "it was built by {product} {built} and runs with that version{compatible} only; here is \
         {major}.{minor}.{patch}: build it again here"
    ))
}

fn gpu(facts: &EngineFacts, here: Here<'_>) -> Option<String> {
    let (major, minor) = here.compute_capability;
    let own = format!("{major}.{minor}");
    let built_for = &facts.compute_capabilities;
    let takes = built_for.is_empty()
        || built_for.contains(&own)
        || (facts.hardware_compatibility == HardwareCompatibility::AmperePlus
            && here.compute_capability >= FIRST_AMPERE);
    if takes {
        return None;
    }
    let built_on = facts.gpu.as_ref().map_or_else(String::new, |gpu| format!(" ({gpu})"));
    let built_for = built_for.join(", ");
    Some(format!(
        "it is for GPUs of compute capability {built_for}{built_on}; GPU {} here is of {own} ({}): \
         build it again here, or leave that GPU out",
        here.device, here.gpu
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::tensorrt::BuildFacts;

    fn facts() -> EngineFacts {
        EngineFacts {
            flavor: Flavor::Standard,
            version: "8.6.0.12".to_owned(),
            gpu: Some("NVIDIA H200".to_owned()),
            compute_capabilities: vec!["9.0".to_owned()],
            hardware_compatibility: HardwareCompatibility::None,
            version_compatible: false,
            device_memory: None,
            plan_bytes: 4,
            refittable: false,
            plugins: Vec::new(),
            weights: None,
            shape_values: Vec::new(),
            build: BuildFacts::default(),
            layers: Vec::new(),
        }
    }

    fn here(flavor: Flavor, version: &str, compute_capability: (u32, u32)) -> Here<'static> {
        let version = version.parse().unwrap();
        Here { flavor, version, device: 1, gpu: "Some GPU", compute_capability }
    }

    const STANDARD: Flavor = Flavor::Standard;

    #[test]
    fn an_engine_runs_where_it_was_built_and_one_of_unknown_origin_is_tried() {
        let at_home = here(STANDARD, "8.6.0.0", (9, 0));
        assert_eq!(objection(b"ftrt", Some(&facts()), at_home), None);
        assert_eq!(objection(b"ftrt", None, at_home), None);
        assert_eq!(objection(b"", None, at_home), None);
    }

    #[test]
    fn an_engine_of_the_other_library_is_refused_by_its_first_bytes_whatever_is_written_of_it() {
        let refused = objection(b"vtrt....", Some(&facts()), here(STANDARD, "8.6.0.0", (9, 0)));
        insta::assert_snapshot!(
            refused.unwrap(),
            @"it is an engine of TensorRT-RTX, and the library found here is TensorRT: choose TensorRT-RTX (`tensorrt.flavor`), or build it again here"
        );
        let refused = objection(b"ftrt....", None, here(Flavor::Rtx, "1.7.1.0", (8, 9)));
        assert!(refused.unwrap().starts_with("it is an engine of TensorRT, and"));
    }

    #[test]
    fn another_version_is_refused_unless_the_engine_is_version_compatible_and_it_is_later() {
        let mut engine = facts();
        let refused = objection(b"ftrt", Some(&engine), here(STANDARD, "10.13.3.0", (9, 0)));
        insta::assert_snapshot!(
            refused.unwrap(),
            @"it was built by TensorRT 8.6.0.12 and runs with that version only; here is 10.13.3: build it again here"
        );
        engine.version_compatible = true;
        assert_eq!(objection(b"ftrt", Some(&engine), here(STANDARD, "10.13.3.0", (9, 0))), None);
        engine.version = "11.4.0.106".to_owned();
        let refused = objection(b"ftrt", Some(&engine), here(STANDARD, "10.13.3.0", (9, 0)));
        assert!(refused.unwrap().contains("that version or a later one only"));
    }

    #[test]
    fn tensorrt_rtx_itself_says_which_versions_it_takes() {
        let mut engine = facts();
        (engine.flavor, engine.version) = (Flavor::Rtx, "1.5.0.1".to_owned());
        assert_eq!(objection(b"vtrt", Some(&engine), here(Flavor::Rtx, "1.7.1.0", (9, 0))), None);
    }

    #[test]
    fn another_compute_capability_is_refused_unless_the_engine_is_hardware_compatible() {
        let mut engine = facts();
        let refused = objection(b"ftrt", Some(&engine), here(STANDARD, "8.6.0.0", (8, 9)));
        insta::assert_snapshot!(
            refused.unwrap(),
            @"it is for GPUs of compute capability 9.0 (NVIDIA H200); GPU 1 here is of 8.9 (Some GPU): build it again here, or leave that GPU out"
        );
        engine.hardware_compatibility = HardwareCompatibility::AmperePlus;
        assert_eq!(objection(b"ftrt", Some(&engine), here(STANDARD, "8.6.0.0", (8, 9))), None);
        assert!(objection(b"ftrt", Some(&engine), here(STANDARD, "8.6.0.0", (7, 5))).is_some());
        engine.hardware_compatibility = HardwareCompatibility::SameComputeCapability;
        assert!(objection(b"ftrt", Some(&engine), here(STANDARD, "8.6.0.0", (8, 9))).is_some());
    }
}
