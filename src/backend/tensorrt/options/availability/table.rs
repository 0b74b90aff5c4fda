//! Which libraries have what a setting needs: one table, held against `ffi/tensorrt-abi.toml` by
//! this module's tests.

use std::fmt;

use crate::backend::tensorrt::Generation;

/// From which version on the libraries of a generation have something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// None of them has it.
    Never,
    /// All of them have it.
    Always,
    /// This minor version and later ones.
    Minor(u32),
}

/// What a setting stands for in the library's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symbol {
    /// A method of `IBuilderConfig`.
    Config(&'static str),
    /// A `BuilderFlag`.
    Flag(&'static str),
    /// Another enumeration and one of its enumerators.
    Of(&'static str, &'static str),
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(method) => write!(f, "IBuilderConfig::{method}"),
            Self::Flag(flag) => write!(f, "BuilderFlag::{flag}"),
            Self::Of(enumeration, enumerator) => write!(f, "{enumeration}::{enumerator}"),
        }
    }
}

/// A setting, or one of its values, and who has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// The setting as specs write it.
    pub(super) setting: &'static str,
    /// The value this is about; `None` for the setting as a whole.
    pub(super) value: Option<&'static str>,
    /// What it needs.
    pub(super) symbol: Symbol,
    /// Who has it, in the order of [`Generation::ALL`].
    pub(super) since: [Since; 5],
    /// Who has the symbol but not what it is for, and why.
    pub(super) refusal: Option<(&'static [Generation], &'static str)>,
    /// What to do where it is missing, if there is another way to the same end.
    pub(super) instead: Option<&'static str>,
}

impl Row {
    const fn value(mut self, value: &'static str) -> Self {
        self.value = Some(value);
        self
    }

    const fn refused(mut self, by: &'static [Generation], reason: &'static str) -> Self {
        self.refusal = Some((by, reason));
        self
    }

    const fn instead(mut self, help: &'static str) -> Self {
        self.instead = Some(help);
        self
    }
}

const fn row(setting: &'static str, symbol: Symbol, since: [Since; 5]) -> Row {
    Row { setting, value: None, symbol, since, refusal: None, instead: None }
}

use Generation::{Rtx1, Rtx1_4, V10};
use Since::{Always, Minor, Never};
use Symbol::{Config, Flag, Of};

const ALL: [Since; 5] = [Always; 5];
/// From TensorRT 10 on.
const FROM_10: [Since; 5] = [Never, Always, Always, Always, Always];
/// Where the library chooses precisions.
const WEAKLY_TYPED: [Since; 5] = [Always, Always, Never, Never, Never];
/// TensorRT, not TensorRT-RTX.
const STANDARD: [Since; 5] = [Always, Always, Always, Never, Never];
const STANDARD_FROM_10_9: [Since; 5] = [Never, Minor(9), Always, Never, Never];
const ONLY_8_6: [Since; 5] = [Always, Never, Never, Never, Never];
const ONLY_10: [Since; 5] = [Never, Always, Never, Never, Never];
const ONLY_RTX: [Since; 5] = [Never, Never, Never, Always, Always];
/// Gone with TensorRT 11 and TensorRT-RTX 1.5.
const OLDER: [Since; 5] = [Always, Always, Never, Always, Never];

/// From this minor version of TensorRT 10 on.
const fn from_10(minor: u32) -> [Since; 5] {
    [Never, Minor(minor), Always, Always, Always]
}

const RTX: &[Generation] = &[Rtx1_4, Rtx1];
const TYPED: &str = "TensorRT-RTX always keeps the types of the model";
const STRONGLY_TYPED: &str = "tensorrt.strongly_typed";
const NO_DLA: &str = "the GPUs of TensorRT-RTX have no DLA cores";
const BY_CAPABILITY: &str = "TensorRT-RTX is told the GPUs by their compute capability";
const NO_TIMING: &str = "TensorRT-RTX measures no kernels while it builds";

const GRAPH: &str = "make the precision part of the model instead: `optimize: { precision: fp16 }`, or \
                     a `calibrate` stage for INT8";
const GRAPH_INT8: &str =
    "make INT8 part of the model instead: with a `calibrate` stage, or Q/DQ nodes";

/// A way to let the library choose precisions.
const fn weak(setting: &'static str, symbol: Symbol, since: [Since; 5]) -> Row {
    row(setting, symbol, since).refused(&[Rtx1_4], TYPED).instead(GRAPH)
}

const fn capability(value: &'static str, symbol: &'static str, since: [Since; 5]) -> Row {
    row("compute_capabilities", Of("ComputeCapability", symbol), since).value(value)
}

const fn pool(setting: &'static str, symbol: &'static str, since: [Since; 5]) -> Row {
    row(setting, Of("MemoryPoolType", symbol), since)
}

const fn source(value: &'static str, symbol: &'static str, since: [Since; 5]) -> Row {
    row("tensorrt.tactic_sources", Of("TacticSource", symbol), since).value(value)
}

const fn hardware(value: &'static str, symbol: &'static str, since: [Since; 5]) -> Row {
    let symbol = Of("HardwareCompatibilityLevel", symbol);
    row("tensorrt.hardware_compatibility", symbol, since).value(value).refused(RTX, BY_CAPABILITY)
}

const fn preview(setting: &'static str, symbol: &'static str, since: [Since; 5]) -> Row {
    row(setting, Of("PreviewFeature", symbol), since)
}

/// Every setting that needs something of the library.
pub(super) const TABLE: &[Row] = &[
    row("compute_capabilities", Config("setComputeCapability"), ONLY_RTX)
        .instead("remove it: the engine is built for the GPU of the machine that builds it"),
    capability("7.5", "kSM75", ONLY_RTX),
    capability("8.0", "kSM80", ONLY_RTX),
    capability("8.6", "kSM86", ONLY_RTX),
    capability("8.9", "kSM89", ONLY_RTX),
    capability("12.0", "kSM120", ONLY_RTX),
    capability("12.1", "kSM121", [Never, Never, Never, Never, Always]),
    weak("precision", Flag("kFP16"), WEAKLY_TYPED),
    weak("precision", Flag("kBF16"), ONLY_10).value("bf16").instead("take `fp16`"),
    weak("precision", Flag("kINT8"), WEAKLY_TYPED).value("int8"),
    row("int8", Config("setInt8Calibrator"), WEAKLY_TYPED).instead(GRAPH_INT8),
    weak("tensorrt.layer_precisions", Flag("kOBEY_PRECISION_CONSTRAINTS"), WEAKLY_TYPED),
    weak("tensorrt.layer_precisions", Flag("kBF16"), ONLY_10).value("bf16").instead("take `fp16`"),
    weak("tensorrt.precision_constraints", Flag("kPREFER_PRECISION_CONSTRAINTS"), WEAKLY_TYPED),
    row(STRONGLY_TYPED, Of("NetworkDefinitionCreationFlag", "kSTRONGLY_TYPED"), FROM_10)
        .value("true")
        .instead("remove it: TensorRT 8.6 uses the precisions that it finds in the model"),
    // Without strong typing there are flags to choose precisions with.
    weak(STRONGLY_TYPED, Flag("kFP16"), WEAKLY_TYPED)
        .value("false")
        .instead("remove it: this library always keeps the types of the model"),
    pool("tensorrt.workspace", "kWORKSPACE", ALL),
    pool("tensorrt.tactic_dram", "kTACTIC_DRAM", ALL),
    pool("tensorrt.tactic_shared_memory", "kTACTIC_SHARED_MEMORY", FROM_10),
    pool("tensorrt.dla_managed_sram", "kDLA_MANAGED_SRAM", STANDARD).refused(RTX, NO_DLA),
    pool("tensorrt.dla_local_dram", "kDLA_LOCAL_DRAM", STANDARD).refused(RTX, NO_DLA),
    pool("tensorrt.dla_global_dram", "kDLA_GLOBAL_DRAM", STANDARD).refused(RTX, NO_DLA),
    row("tensorrt.dla_core", Config("setDLACore"), STANDARD).refused(RTX, NO_DLA),
    row("tensorrt.gpu_fallback", Flag("kGPU_FALLBACK"), STANDARD).refused(RTX, NO_DLA),
    row("tensorrt.tf32", Flag("kTF32"), ALL),
    row("tensorrt.sparsity", Flag("kSPARSE_WEIGHTS"), ALL),
    row("tensorrt.strict_nans", Flag("kSTRICT_NANS"), from_10(6)),
    row("tensorrt.distributive_independence", Flag("kDISTRIBUTIVE_INDEPENDENCE"), from_10(12)),
    row("tensorrt.refit", Flag("kREFIT"), ALL),
    row("tensorrt.refit", Flag("kREFIT_IDENTICAL"), FROM_10)
        .value("identical")
        .instead("write `refit: all`"),
    row("tensorrt.strip_weights", Flag("kSTRIP_PLAN"), FROM_10),
    row("tensorrt.weight_streaming", Flag("kWEIGHT_STREAMING"), FROM_10),
    row("tensorrt.version_compatible", Flag("kVERSION_COMPATIBLE"), ALL),
    row("tensorrt.exclude_lean_runtime", Flag("kEXCLUDE_LEAN_RUNTIME"), ALL),
    row("tensorrt.hardware_compatibility", Config("setHardwareCompatibilityLevel"), STANDARD)
        .refused(RTX, BY_CAPABILITY)
        .instead("name them in `compute_capabilities`"),
    hardware("ampere_plus", "kAMPERE_PLUS", STANDARD),
    hardware("same_compute_capability", "kSAME_COMPUTE_CAPABILITY", STANDARD_FROM_10_9),
    row("tensorrt.optimization_level", Config("setBuilderOptimizationLevel"), ALL),
    row("tensorrt.max_aux_streams", Config("setMaxAuxStreams"), ALL),
    row("tensorrt.tactic_sources", Config("setTacticSources"), ALL),
    source("cublas", "kCUBLAS", OLDER),
    source("cublas_lt", "kCUBLAS_LT", OLDER),
    source("cudnn", "kCUDNN", OLDER),
    source("edge_mask_convolutions", "kEDGE_MASK_CONVOLUTIONS", ALL),
    source("jit_convolutions", "kJIT_CONVOLUTIONS", ALL),
    row("tensorrt.tiling", Config("setTilingOptimizationLevel"), from_10(8)),
    row("tensorrt.tiling_l2_limit", Config("setL2LimitForTiling"), from_10(8)),
    row("tensorrt.avg_timing_iterations", Config("setAvgTimingIterations"), ALL),
    row("tensorrt.max_tactics", Config("setMaxNbTactics"), from_10(4)),
    row("tensorrt.timing_cache", Config("createTimingCache"), STANDARD).refused(RTX, NO_TIMING),
    row("tensorrt.profiling_verbosity", Config("setProfilingVerbosity"), ALL),
    preview("tensorrt.preview_features.aliased_plugin_io", "kALIASED_PLUGIN_IO_10_03", from_10(3)),
    preview(
        "tensorrt.preview_features.runtime_activation_resize",
        "kRUNTIME_ACTIVATION_RESIZE_10_10",
        from_10(10),
    ),
    preview("tensorrt.preview_features.profile_sharing", "kPROFILE_SHARING_0806", ONLY_8_6)
        .refused(&[V10, Rtx1_4], "this library always shares profiles"),
    preview(
        "tensorrt.preview_features.faster_dynamic_shapes",
        "kFASTER_DYNAMIC_SHAPES_0805",
        ONLY_8_6,
    ),
    preview(
        "tensorrt.preview_features.disable_external_tactic_sources",
        "kDISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805",
        ONLY_8_6,
    ),
];
