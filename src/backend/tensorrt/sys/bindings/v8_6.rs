#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct Dims32 {
    pub nbDims: i32,
    pub d: [i32; 8usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct Weights {
    pub type_: i32,
    pub values: *const ::core::ffi::c_void,
    pub count: i64,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct Permutation {
    pub order: [i32; 8usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct DimsExprs {
    pub nbDims: i32,
    pub d: [*const ::core::ffi::c_void; 8usize],
}
pub type DimsHW = Dims32;
pub type DataType = i32;
pub const DataType_kFLOAT: DataType = 0;
pub const DataType_kHALF: DataType = 1;
pub const DataType_kINT8: DataType = 2;
pub const DataType_kINT32: DataType = 3;
pub const DataType_kBOOL: DataType = 4;
pub const DataType_kUINT8: DataType = 5;
pub const DataType_kFP8: DataType = 6;
pub type BuilderFlag = i32;
pub const BuilderFlag_kFP16: BuilderFlag = 0;
pub const BuilderFlag_kINT8: BuilderFlag = 1;
pub const BuilderFlag_kDEBUG: BuilderFlag = 2;
pub const BuilderFlag_kGPU_FALLBACK: BuilderFlag = 3;
pub const BuilderFlag_kSTRICT_TYPES: BuilderFlag = 4;
pub const BuilderFlag_kREFIT: BuilderFlag = 5;
pub const BuilderFlag_kDISABLE_TIMING_CACHE: BuilderFlag = 6;
pub const BuilderFlag_kTF32: BuilderFlag = 7;
pub const BuilderFlag_kSPARSE_WEIGHTS: BuilderFlag = 8;
pub const BuilderFlag_kSAFETY_SCOPE: BuilderFlag = 9;
pub const BuilderFlag_kOBEY_PRECISION_CONSTRAINTS: BuilderFlag = 10;
pub const BuilderFlag_kPREFER_PRECISION_CONSTRAINTS: BuilderFlag = 11;
pub const BuilderFlag_kDIRECT_IO: BuilderFlag = 12;
pub const BuilderFlag_kREJECT_EMPTY_ALGORITHMS: BuilderFlag = 13;
pub const BuilderFlag_kENABLE_TACTIC_HEURISTIC: BuilderFlag = 14;
pub const BuilderFlag_kVERSION_COMPATIBLE: BuilderFlag = 15;
pub const BuilderFlag_kEXCLUDE_LEAN_RUNTIME: BuilderFlag = 16;
pub const BuilderFlag_kFP8: BuilderFlag = 17;
pub type NetworkDefinitionCreationFlag = i32;
pub const NetworkDefinitionCreationFlag_kEXPLICIT_BATCH: NetworkDefinitionCreationFlag = 0;
pub const NetworkDefinitionCreationFlag_kEXPLICIT_PRECISION: NetworkDefinitionCreationFlag = 1;
pub type MemoryPoolType = i32;
pub const MemoryPoolType_kWORKSPACE: MemoryPoolType = 0;
pub const MemoryPoolType_kDLA_MANAGED_SRAM: MemoryPoolType = 1;
pub const MemoryPoolType_kDLA_LOCAL_DRAM: MemoryPoolType = 2;
pub const MemoryPoolType_kDLA_GLOBAL_DRAM: MemoryPoolType = 3;
pub const MemoryPoolType_kTACTIC_DRAM: MemoryPoolType = 4;
pub type TensorIOMode = i32;
pub const TensorIOMode_kNONE: TensorIOMode = 0;
pub const TensorIOMode_kINPUT: TensorIOMode = 1;
pub const TensorIOMode_kOUTPUT: TensorIOMode = 2;
pub type TensorLocation = i32;
pub const TensorLocation_kDEVICE: TensorLocation = 0;
pub const TensorLocation_kHOST: TensorLocation = 1;
pub type TensorFormat = i32;
pub const TensorFormat_kLINEAR: TensorFormat = 0;
pub const TensorFormat_kCHW2: TensorFormat = 1;
pub const TensorFormat_kHWC8: TensorFormat = 2;
pub const TensorFormat_kCHW4: TensorFormat = 3;
pub const TensorFormat_kCHW16: TensorFormat = 4;
pub const TensorFormat_kCHW32: TensorFormat = 5;
pub const TensorFormat_kDHWC8: TensorFormat = 6;
pub const TensorFormat_kCDHW32: TensorFormat = 7;
pub const TensorFormat_kHWC: TensorFormat = 8;
pub const TensorFormat_kDLA_LINEAR: TensorFormat = 9;
pub const TensorFormat_kDLA_HWC4: TensorFormat = 10;
pub const TensorFormat_kHWC16: TensorFormat = 11;
pub const TensorFormat_kDHWC: TensorFormat = 12;
pub type OptProfileSelector = i32;
pub const OptProfileSelector_kMIN: OptProfileSelector = 0;
pub const OptProfileSelector_kOPT: OptProfileSelector = 1;
pub const OptProfileSelector_kMAX: OptProfileSelector = 2;
pub type ProfilingVerbosity = i32;
pub const ProfilingVerbosity_kLAYER_NAMES_ONLY: ProfilingVerbosity = 0;
pub const ProfilingVerbosity_kNONE: ProfilingVerbosity = 1;
pub const ProfilingVerbosity_kDETAILED: ProfilingVerbosity = 2;
pub const ProfilingVerbosity_kDEFAULT: ProfilingVerbosity = 0;
pub const ProfilingVerbosity_kVERBOSE: ProfilingVerbosity = 2;
pub type HardwareCompatibilityLevel = i32;
pub const HardwareCompatibilityLevel_kNONE: HardwareCompatibilityLevel = 0;
pub const HardwareCompatibilityLevel_kAMPERE_PLUS: HardwareCompatibilityLevel = 1;
pub type TacticSource = i32;
pub const TacticSource_kCUBLAS: TacticSource = 0;
pub const TacticSource_kCUBLAS_LT: TacticSource = 1;
pub const TacticSource_kCUDNN: TacticSource = 2;
pub const TacticSource_kEDGE_MASK_CONVOLUTIONS: TacticSource = 3;
pub const TacticSource_kJIT_CONVOLUTIONS: TacticSource = 4;
pub type PreviewFeature = i32;
pub const PreviewFeature_kFASTER_DYNAMIC_SHAPES_0805: PreviewFeature = 0;
pub const PreviewFeature_kDISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805: PreviewFeature = 1;
pub const PreviewFeature_kPROFILE_SHARING_0806: PreviewFeature = 2;
pub type CalibrationAlgoType = i32;
pub const CalibrationAlgoType_kLEGACY_CALIBRATION: CalibrationAlgoType = 0;
pub const CalibrationAlgoType_kENTROPY_CALIBRATION: CalibrationAlgoType = 1;
pub const CalibrationAlgoType_kENTROPY_CALIBRATION_2: CalibrationAlgoType = 2;
pub const CalibrationAlgoType_kMINMAX_CALIBRATION: CalibrationAlgoType = 3;
pub type DeviceType = i32;
pub const DeviceType_kGPU: DeviceType = 0;
pub const DeviceType_kDLA: DeviceType = 1;
pub type EngineCapability = i32;
pub const EngineCapability_kSTANDARD: EngineCapability = 0;
pub const EngineCapability_kDEFAULT: EngineCapability = 0;
pub const EngineCapability_kSAFETY: EngineCapability = 1;
pub const EngineCapability_kSAFE_GPU: EngineCapability = 1;
pub const EngineCapability_kDLA_STANDALONE: EngineCapability = 2;
pub const EngineCapability_kSAFE_DLA: EngineCapability = 2;
pub type ErrorCode = i32;
pub const ErrorCode_kSUCCESS: ErrorCode = 0;
pub const ErrorCode_kUNSPECIFIED_ERROR: ErrorCode = 1;
pub const ErrorCode_kINTERNAL_ERROR: ErrorCode = 2;
pub const ErrorCode_kINVALID_ARGUMENT: ErrorCode = 3;
pub const ErrorCode_kINVALID_CONFIG: ErrorCode = 4;
pub const ErrorCode_kFAILED_ALLOCATION: ErrorCode = 5;
pub const ErrorCode_kFAILED_INITIALIZATION: ErrorCode = 6;
pub const ErrorCode_kFAILED_EXECUTION: ErrorCode = 7;
pub const ErrorCode_kFAILED_COMPUTATION: ErrorCode = 8;
pub const ErrorCode_kINVALID_STATE: ErrorCode = 9;
pub const ErrorCode_kUNSUPPORTED_STATE: ErrorCode = 10;
pub type LayerInformationFormat = i32;
pub const LayerInformationFormat_kONELINE: LayerInformationFormat = 0;
pub const LayerInformationFormat_kJSON: LayerInformationFormat = 1;
pub type TempfileControlFlag = i32;
pub const TempfileControlFlag_kALLOW_IN_MEMORY_FILES: TempfileControlFlag = 0;
pub const TempfileControlFlag_kALLOW_TEMPORARY_FILES: TempfileControlFlag = 1;
pub type QuantizationFlag = i32;
pub const QuantizationFlag_kCALIBRATE_BEFORE_FUSION: QuantizationFlag = 0;
pub type AllocatorFlag = i32;
pub const AllocatorFlag_kRESIZABLE: AllocatorFlag = 0;
pub type WeightsRole = i32;
pub const WeightsRole_kKERNEL: WeightsRole = 0;
pub const WeightsRole_kBIAS: WeightsRole = 1;
pub const WeightsRole_kSHIFT: WeightsRole = 2;
pub const WeightsRole_kSCALE: WeightsRole = 3;
pub const WeightsRole_kCONSTANT: WeightsRole = 4;
pub const WeightsRole_kANY: WeightsRole = 5;
pub type LayerType = i32;
pub const LayerType_kCONVOLUTION: LayerType = 0;
pub const LayerType_kFULLY_CONNECTED: LayerType = 1;
pub const LayerType_kACTIVATION: LayerType = 2;
pub const LayerType_kPOOLING: LayerType = 3;
pub const LayerType_kLRN: LayerType = 4;
pub const LayerType_kSCALE: LayerType = 5;
pub const LayerType_kSOFTMAX: LayerType = 6;
pub const LayerType_kDECONVOLUTION: LayerType = 7;
pub const LayerType_kCONCATENATION: LayerType = 8;
pub const LayerType_kELEMENTWISE: LayerType = 9;
pub const LayerType_kPLUGIN: LayerType = 10;
pub const LayerType_kUNARY: LayerType = 11;
pub const LayerType_kPADDING: LayerType = 12;
pub const LayerType_kSHUFFLE: LayerType = 13;
pub const LayerType_kREDUCE: LayerType = 14;
pub const LayerType_kTOPK: LayerType = 15;
pub const LayerType_kGATHER: LayerType = 16;
pub const LayerType_kMATRIX_MULTIPLY: LayerType = 17;
pub const LayerType_kRAGGED_SOFTMAX: LayerType = 18;
pub const LayerType_kCONSTANT: LayerType = 19;
pub const LayerType_kRNN_V2: LayerType = 20;
pub const LayerType_kIDENTITY: LayerType = 21;
pub const LayerType_kPLUGIN_V2: LayerType = 22;
pub const LayerType_kSLICE: LayerType = 23;
pub const LayerType_kSHAPE: LayerType = 24;
pub const LayerType_kPARAMETRIC_RELU: LayerType = 25;
pub const LayerType_kRESIZE: LayerType = 26;
pub const LayerType_kTRIP_LIMIT: LayerType = 27;
pub const LayerType_kRECURRENCE: LayerType = 28;
pub const LayerType_kITERATOR: LayerType = 29;
pub const LayerType_kLOOP_OUTPUT: LayerType = 30;
pub const LayerType_kSELECT: LayerType = 31;
pub const LayerType_kFILL: LayerType = 32;
pub const LayerType_kQUANTIZE: LayerType = 33;
pub const LayerType_kDEQUANTIZE: LayerType = 34;
pub const LayerType_kCONDITION: LayerType = 35;
pub const LayerType_kCONDITIONAL_INPUT: LayerType = 36;
pub const LayerType_kCONDITIONAL_OUTPUT: LayerType = 37;
pub const LayerType_kSCATTER: LayerType = 38;
pub const LayerType_kEINSUM: LayerType = 39;
pub const LayerType_kASSERTION: LayerType = 40;
pub const LayerType_kONE_HOT: LayerType = 41;
pub const LayerType_kNON_ZERO: LayerType = 42;
pub const LayerType_kGRID_SAMPLE: LayerType = 43;
pub const LayerType_kNMS: LayerType = 44;
pub const LayerType_kREVERSE_SEQUENCE: LayerType = 45;
pub const LayerType_kNORMALIZATION: LayerType = 46;
pub const LayerType_kCAST: LayerType = 47;
pub type ILogger_Severity = i32;
pub const ILogger_Severity_kINTERNAL_ERROR: ILogger_Severity = 0;
pub const ILogger_Severity_kERROR: ILogger_Severity = 1;
pub const ILogger_Severity_kWARNING: ILogger_Severity = 2;
pub const ILogger_Severity_kINFO: ILogger_Severity = 3;
pub const ILogger_Severity_kVERBOSE: ILogger_Severity = 4;
pub type OnnxParserFlag = i32;
pub const OnnxParserFlag_kNATIVE_INSTANCENORM: OnnxParserFlag = 0;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IRuntime_table {
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deserializeCudaEngine: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: u64,
            arg4: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub setDLACore: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub getDLACore: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getNbDLACores: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub setGpuAllocator: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub setErrorRecorder: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getErrorRecorder: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub getLogger: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub setMaxThreads: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> bool,
    >,
    pub getMaxThreads: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub setTemporaryDirectory: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getTemporaryDirectory: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub setTempfileControlFlags: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: u32),
    >,
    pub getTempfileControlFlags: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> u32,
    >,
    pub getPImpl: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub getPluginRegistry: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub setPluginRegistryParent: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub loadRuntime: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub setEngineHostCodeAllowed: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: bool),
    >,
    pub getEngineHostCodeAllowed: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ICudaEngine_table {
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub getNbBindings: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getBindingIndex: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    pub getBindingName: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub bindingIsInput: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> bool,
    >,
    pub getBindingDimensions: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> Dims32,
    >,
    pub getBindingDataType: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> i32,
    >,
    pub getMaxBatchSize: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getNbLayers: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub serialize: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub createExecutionContext: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub getLocation: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> i32,
    >,
    pub createExecutionContextWithoutDeviceMemory: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub getDeviceMemorySize: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> u64,
    >,
    pub isRefittable: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub getBindingBytesPerComponent: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> i32,
    >,
    pub getBindingComponentsPerElement: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> i32,
    >,
    pub getBindingFormat: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> i32,
    >,
    pub getBindingFormatDesc: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub getBindingVectorizedDim: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> i32,
    >,
    pub getName: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub getNbOptimizationProfiles: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getProfileDimensions: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
            arg3: i32,
            arg4: i32,
        ) -> Dims32,
    >,
    pub getProfileShapeValues: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
            arg3: i32,
            arg4: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub isShapeBinding: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> bool,
    >,
    pub isExecutionBinding: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> bool,
    >,
    pub getEngineCapability: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub setErrorRecorder: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getErrorRecorder: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub hasImplicitBatchDimension: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub getTacticSources: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> u32,
    >,
    pub getProfilingVerbosity: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub createEngineInspector: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub getTensorShape: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> Dims32,
    >,
    pub getTensorDataType: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    pub getTensorLocation: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    pub isShapeInferenceIO: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub getTensorIOMode: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    pub getTensorBytesPerComponent: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    pub getTensorComponentsPerElement: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    pub getTensorFormat: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    pub getTensorFormatDesc: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub getTensorVectorizedDim: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    pub getProfileShape: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: i32,
        ) -> Dims32,
    >,
    pub getNbIOTensors: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getIOTensorName: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub getHardwareCompatibilityLevel: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getPImpl: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub getNbAuxStreams: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getTensorBytesPerComponentV2: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
        ) -> i32,
    >,
    pub getTensorComponentsPerElementV2: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
        ) -> i32,
    >,
    pub getTensorFormatV2: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
        ) -> i32,
    >,
    pub getTensorFormatDescV2: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub getTensorVectorizedDimV2: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
        ) -> i32,
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IExecutionContext_table {
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub execute: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
            arg3: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub enqueue: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
            arg3: *mut ::core::ffi::c_void,
            arg4: *mut ::core::ffi::c_void,
            arg5: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub setDebugSync: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: bool),
    >,
    pub getDebugSync: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub setProfiler: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getProfiler: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub getEngine: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub setName: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getName: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub setDeviceMemory: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getStrides: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> Dims32,
    >,
    pub setOptimizationProfile: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> bool,
    >,
    pub getOptimizationProfile: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub setBindingDimensions: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
            arg3: Dims32,
        ) -> bool,
    >,
    pub getBindingDimensions: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> Dims32,
    >,
    pub setInputShapeBinding: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
            arg3: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub getShapeBinding: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
            arg3: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub allInputDimensionsSpecified: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub allInputShapesSpecified: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub setErrorRecorder: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getErrorRecorder: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub executeV2: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub enqueueV2: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
            arg4: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub setOptimizationProfileAsync: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
            arg3: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub setEnqueueEmitsProfile: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: bool),
    >,
    pub getEnqueueEmitsProfile: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub reportToProfiler: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub setInputShape: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub getTensorShape: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> Dims32,
    >,
    pub getTensorStrides: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> Dims32,
    >,
    pub setTensorAddress: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub getTensorAddress: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub setInputTensorAddress: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub inferShapes: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
            arg3: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    pub setInputConsumedEvent: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub getInputConsumedEvent: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub getOutputTensorAddress: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub setOutputAllocator: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub getOutputAllocator: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub getMaxOutputSize: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> i64,
    >,
    pub setTemporaryStorageAllocator: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub getTemporaryStorageAllocator: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub enqueueV3: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub setPersistentCacheLimit: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: u64),
    >,
    pub getPersistentCacheLimit: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> u64,
    >,
    pub setNvtxVerbosity: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> bool,
    >,
    pub getNvtxVerbosity: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getPImpl: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub setAuxStreams: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
        ),
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IBuilder_table {
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub setMaxBatchSize: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub getMaxBatchSize: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub platformHasFastFp16: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub platformHasFastInt8: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub getMaxDLABatchSize: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getNbDLACores: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub setGpuAllocator: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub createBuilderConfig: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub buildEngineWithConfig: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub createNetworkV2: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: u32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub createOptimizationProfile: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub setErrorRecorder: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getErrorRecorder: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub reset: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub platformHasTf32: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub buildSerializedNetwork: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub isNetworkSupported: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub getLogger: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub setMaxThreads: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> bool,
    >,
    pub getMaxThreads: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getPluginRegistry: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IBuilderConfig_table {
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub setMinTimingIterations: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub getMinTimingIterations: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub setAvgTimingIterations: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub getAvgTimingIterations: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub setEngineCapability: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub getEngineCapability: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub setInt8Calibrator: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getInt8Calibrator: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub setMaxWorkspaceSize: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: u64),
    >,
    pub getMaxWorkspaceSize: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> u64,
    >,
    pub setFlags: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: u32),
    >,
    pub getFlags: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> u32,
    >,
    pub clearFlag: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub setFlag: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub getFlag: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> bool,
    >,
    pub setDeviceType: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
        ),
    >,
    pub getDeviceType: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    pub isDeviceTypeSet: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub resetDeviceType: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub canRunOnDLA: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub setDLACore: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub getDLACore: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub setDefaultDeviceType: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub getDefaultDeviceType: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub reset: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub setProfileStream: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getProfileStream: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub addOptimizationProfile: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    pub getNbOptimizationProfiles: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub setProfilingVerbosity: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub getProfilingVerbosity: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub setAlgorithmSelector: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getAlgorithmSelector: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub setCalibrationProfile: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub getCalibrationProfile: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub setQuantizationFlags: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: u32),
    >,
    pub getQuantizationFlags: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> u32,
    >,
    pub clearQuantizationFlag: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub setQuantizationFlag: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub getQuantizationFlag: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> bool,
    >,
    pub setTacticSources: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: u32) -> bool,
    >,
    pub getTacticSources: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> u32,
    >,
    pub createTimingCache: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: u64,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub setTimingCache: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: bool,
        ) -> bool,
    >,
    pub getTimingCache: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub setMemoryPoolLimit: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32, arg3: u64),
    >,
    pub getMemoryPoolLimit: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> u64,
    >,
    pub setPreviewFeature: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32, arg3: bool),
    >,
    pub getPreviewFeature: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> bool,
    >,
    pub setBuilderOptimizationLevel: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub getBuilderOptimizationLevel: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub setHardwareCompatibilityLevel: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub getHardwareCompatibilityLevel: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub setPluginsToSerialize: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
        ),
    >,
    pub getPluginToSerialize: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub getNbPluginsToSerialize: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub setMaxAuxStreams: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub getMaxAuxStreams: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct INetworkDefinition_table {
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub addInput: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: Dims32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub markOutput: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub addConvolution: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: DimsHW,
            arg5: Weights,
            arg6: Weights,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addFullyConnected: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: Weights,
            arg5: Weights,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addActivation: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addPooling: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: DimsHW,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addLRN: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: f32,
            arg5: f32,
            arg6: f32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addScale: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: Weights,
            arg5: Weights,
            arg6: Weights,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addSoftMax: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addConcatenation: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addDeconvolution: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: DimsHW,
            arg5: Weights,
            arg6: Weights,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addElementWise: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
            arg4: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addUnary: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addPadding: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: DimsHW,
            arg4: DimsHW,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addShuffle: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub getNbLayers: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getLayer: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub getNbInputs: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getInput: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub getNbOutputs: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getOutput: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addReduce: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: u32,
            arg5: bool,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addTopK: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: i32,
            arg5: u32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addGather: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
            arg4: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addRaggedSoftMax: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addMatrixMultiply: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: *mut ::core::ffi::c_void,
            arg5: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addConstant: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: Dims32,
            arg3: Weights,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addRNNv2: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: i32,
            arg5: i32,
            arg6: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addIdentity: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub removeTensor: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub unmarkOutput: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub addPluginV2: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addSlice: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: Dims32,
            arg4: Dims32,
            arg5: Dims32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub setName: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getName: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub addShape: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub hasImplicitBatchDimension: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub markOutputForShapes: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub unmarkOutputForShapes: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub addParametricReLU: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addConvolutionNd: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: Dims32,
            arg5: Weights,
            arg6: Weights,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addPoolingNd: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: Dims32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addDeconvolutionNd: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: Dims32,
            arg5: Weights,
            arg6: Weights,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addScaleNd: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: Weights,
            arg5: Weights,
            arg6: Weights,
            arg7: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addResize: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub hasExplicitPrecision: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub addLoop: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub addSelect: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
            arg4: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addFill: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: Dims32,
            arg3: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addPaddingNd: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: Dims32,
            arg4: Dims32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub setWeightsName: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: Weights,
            arg3: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub setErrorRecorder: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getErrorRecorder: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub addDequantize: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addQuantize: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addGatherV2: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
            arg4: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addIfConditional: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub addScatter: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
            arg4: *mut ::core::ffi::c_void,
            arg5: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addEinsum: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addAssertion: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addOneHot: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
            arg4: *mut ::core::ffi::c_void,
            arg5: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addNonZero: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addGridSample: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addNMS: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
            arg4: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addReverseSequence: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addNormalization: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
            arg4: *mut ::core::ffi::c_void,
            arg5: u32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub addCast: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub getBuilder: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ITensor_table {
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub setName: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getName: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub setDimensions: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: Dims32),
    >,
    pub getDimensions: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> Dims32,
    >,
    pub setType: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub getType: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub setDynamicRange: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: f32,
            arg3: f32,
        ) -> bool,
    >,
    pub isNetworkInput: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub isNetworkOutput: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub setBroadcastAcrossBatch: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: bool),
    >,
    pub getBroadcastAcrossBatch: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub getLocation: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub setLocation: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub dynamicRangeIsSet: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub resetDynamicRange: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub getDynamicRangeMin: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> f32,
    >,
    pub getDynamicRangeMax: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> f32,
    >,
    pub setAllowedFormats: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: u32),
    >,
    pub getAllowedFormats: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> u32,
    >,
    pub isShapeTensor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub isExecutionTensor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub setDimensionName: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
            arg3: *mut ::core::ffi::c_void,
        ),
    >,
    pub getDimensionName: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ILayer_table {
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub getType: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub setName: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getName: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub getNbInputs: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getInput: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub getNbOutputs: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getOutput: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub setInput: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
            arg3: *mut ::core::ffi::c_void,
        ),
    >,
    pub setPrecision: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub getPrecision: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub precisionIsSet: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub resetPrecision: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub setOutputType: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32, arg3: i32),
    >,
    pub getOutputType: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> i32,
    >,
    pub outputTypeIsSet: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> bool,
    >,
    pub resetOutputType: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub setMetadata: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getMetadata: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IOptimizationProfile_table {
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub setDimensions: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: Dims32,
        ) -> bool,
    >,
    pub getDimensions: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
        ) -> Dims32,
    >,
    pub setShapeValues: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: *mut ::core::ffi::c_void,
            arg5: i32,
        ) -> bool,
    >,
    pub getNbShapeValues: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    pub getShapeValues: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub setExtraMemoryTarget: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: f32) -> bool,
    >,
    pub getExtraMemoryTarget: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> f32,
    >,
    pub isValid: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IHostMemory_table {
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub data: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub size: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> u64,
    >,
    pub type_: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ITimingCache_table {
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub serialize: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub combine: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: bool,
        ) -> bool,
    >,
    pub reset: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IEngineInspector_table {
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub setExecutionContext: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub getExecutionContext: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub getLayerInformation: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
            arg3: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub getEngineInformation: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub setErrorRecorder: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getErrorRecorder: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub getPImpl: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IRefitter_table {
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub setWeights: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
            arg4: Weights,
        ) -> bool,
    >,
    pub refitCudaEngine: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub getMissing: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
            arg3: *mut ::core::ffi::c_void,
            arg4: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    pub getAll: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
            arg3: *mut ::core::ffi::c_void,
            arg4: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    pub setDynamicRange: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: f32,
            arg4: f32,
        ) -> bool,
    >,
    pub getDynamicRangeMin: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> f32,
    >,
    pub getDynamicRangeMax: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> f32,
    >,
    pub getTensorsWithDynamicRange: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
            arg3: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    pub setErrorRecorder: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getErrorRecorder: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub setNamedWeights: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: Weights,
        ) -> bool,
    >,
    pub getMissingWeights: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
            arg3: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    pub getAllWeights: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
            arg3: *mut ::core::ffi::c_void,
        ) -> i32,
    >,
    pub getLogger: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub setMaxThreads: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> bool,
    >,
    pub getMaxThreads: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IPluginRegistry_table {
    pub registerCreator: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub getPluginCreatorList: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub getPluginCreator: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
            arg4: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub setErrorRecorder: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getErrorRecorder: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub deregisterCreator: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub isParentSearchEnabled: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub setParentSearchEnabled: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: bool),
    >,
    pub loadLibrary: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub deregisterLibrary: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IParser_table {
    pub parse: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: u64,
            arg4: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub parseFromFile: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
        ) -> bool,
    >,
    pub supportsModel: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: u64,
            arg4: *mut ::core::ffi::c_void,
            arg5: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub parseWithWeightDescriptors: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: u64,
        ) -> bool,
    >,
    pub supportsOperator: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub destroy: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub getNbErrors: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getError: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub clearErrors: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub getUsedVCPluginLibraries: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub setFlags: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: u32),
    >,
    pub getFlags: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> u32,
    >,
    pub clearFlag: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub setFlag: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32),
    >,
    pub getFlag: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> bool,
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IParserError_table {
    pub code: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub desc: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub file: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub line: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub func: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub node: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ILogger_table {
    pub log: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
            arg3: *mut ::core::ffi::c_void,
        ),
    >,
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IProfiler_table {
    pub reportLayerTime: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: f32,
        ),
    >,
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IGpuAllocator_table {
    pub allocate: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: u64,
            arg3: u64,
            arg4: u32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub free: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub reallocate: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: u64,
            arg4: u64,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub deallocate: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IOutputAllocator_table {
    pub getInterfaceVersion: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub reallocateOutput: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
            arg4: u64,
            arg5: u64,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub notifyShape: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
        ),
    >,
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IErrorRecorder_table {
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub getNbErrors: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getErrorCode: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: i32) -> i32,
    >,
    pub getErrorDesc: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub hasOverflowed: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub clear: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub reportError: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
            arg3: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub incRefCount: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub decRefCount: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IInt8Calibrator_table {
    pub getBatchSize: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getBatch: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
            arg4: i32,
        ) -> bool,
    >,
    pub readCalibrationCache: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub writeCalibrationCache: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: u64,
        ),
    >,
    pub getAlgorithm: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IInt8EntropyCalibrator2_table {
    pub getBatchSize: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getBatch: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
            arg4: i32,
        ) -> bool,
    >,
    pub readCalibrationCache: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub writeCalibrationCache: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: u64,
        ),
    >,
    pub getAlgorithm: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IInt8MinMaxCalibrator_table {
    pub getBatchSize: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getBatch: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: *mut ::core::ffi::c_void,
            arg4: i32,
        ) -> bool,
    >,
    pub readCalibrationCache: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub writeCalibrationCache: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: u64,
        ),
    >,
    pub getAlgorithm: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IPluginRegistry_8_6_0_table {
    pub reserved_0: *mut ::core::ffi::c_void,
    pub reserved_1: *mut ::core::ffi::c_void,
    pub reserved_2: *mut ::core::ffi::c_void,
    pub isParentSearchEnabled: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> bool,
    >,
    pub setParentSearchEnabled: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void, arg2: bool),
    >,
    pub loadLibrary: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub deregisterLibrary: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub setErrorRecorder: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ),
    >,
    pub getErrorRecorder: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> *mut ::core::ffi::c_void,
    >,
    pub deregisterCreator: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IParser_8_6_0_table {
    pub parse: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: u64,
            arg4: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub parseFromFile: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: i32,
        ) -> bool,
    >,
    pub supportsModel: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: u64,
            arg4: *mut ::core::ffi::c_void,
            arg5: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub parseWithWeightDescriptors: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
            arg3: u64,
        ) -> bool,
    >,
    pub supportsOperator: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> bool,
    >,
    pub destroy: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub getNbErrors: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void) -> i32,
    >,
    pub getError: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: i32,
        ) -> *mut ::core::ffi::c_void,
    >,
    pub clearErrors: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub complete_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub deleting_destructor: ::core::option::Option<
        unsafe extern "C" fn(arg1: *mut ::core::ffi::c_void),
    >,
    pub getUsedVCPluginLibraries: ::core::option::Option<
        unsafe extern "C" fn(
            arg1: *mut ::core::ffi::c_void,
            arg2: *mut ::core::ffi::c_void,
        ) -> *mut ::core::ffi::c_void,
    >,
}
