"""What of NVIDIA's headers the table holds, in the order in which it holds it. A class, structure or enumeration that a
release adds is taken into the table by naming it here."""

PIMPL = [
    "IRuntime",
    "ICudaEngine",
    "IExecutionContext",
    "IBuilder",
    "IBuilderConfig",
    "INetworkDefinition",
    "ITensor",
    "ILayer",
    "IOptimizationProfile",
    "IHostMemory",
    "ITimingCache",
    "IEngineInspector",
    "IRefitter",
    "ISerializationConfig",
    "IRuntimeConfig",
    "IRuntimeCache",
    "IWeightsManager",
]
DIRECT = ["IPluginRegistry"]
PARSER = ["IParser", "IParserError", "IParserRefitter"]
CALLBACK = [
    "IVersionedInterface",
    "ILogger",
    "IProfiler",
    "IGpuAllocator",
    "IGpuAsyncAllocator",
    "IOutputAllocator",
    "IProgressMonitor",
    "IErrorRecorder",
    "IInt8Calibrator",
    "IInt8EntropyCalibrator2",
    "IInt8MinMaxCalibrator",
    "IStreamReader",
    "IStreamReaderV2",
    "IStreamWriter",
    "IDebugListener",
]

CLASSES: dict[str, str] = (
    dict.fromkeys(PIMPL, "pimpl") | dict.fromkeys(DIRECT + PARSER, "direct") | dict.fromkeys(CALLBACK, "callback")
)
PODS = ["Dims32", "Dims64", "Weights", "InterfaceInfo", "Permutation", "DimsExprs"]
ALIASES = ["Dims"]
ENUMS = [
    "DataType",
    "BuilderFlag",
    "NetworkDefinitionCreationFlag",
    "MemoryPoolType",
    "TensorIOMode",
    "TensorLocation",
    "TensorFormat",
    "OptProfileSelector",
    "ProfilingVerbosity",
    "HardwareCompatibilityLevel",
    "TacticSource",
    "PreviewFeature",
    "CalibrationAlgoType",
    "DeviceType",
    "EngineCapability",
    "ErrorCode",
    "LayerInformationFormat",
    "ExecutionContextAllocationStrategy",
    "ComputeCapability",
    "TempfileControlFlag",
    "RuntimePlatform",
    "TilingOptimizationLevel",
    "QuantizationFlag",
    "SerializationFlag",
    "APILanguage",
    "AllocatorFlag",
    "WeightsRole",
    "LayerType",
    "EngineValidity",
    "EngineInvalidityDiagnostics",
    "CudaGraphStrategy",
    "DynamicShapesKernelSpecializationStrategy",
    "SeekPosition",
    "EngineStat",
    "TensorRTPhase",
    "ILogger::Severity",
    "OnnxParserFlag",
]
OF_PARSER = {*PARSER, "OnnxParserFlag"}
"""What NvOnnxParser.h declares; the headers of some releases come without it."""

EXPORTED = r"INTERNAL|InferLib|PluginRegistry|getLogger|InternalLibraryPath|OnnxParser|LibNvInfer"
NOT_EXPORTED = r"Plugin$|Safe|Caffe|Uff|Consist"
"""Which functions with C names: those that contain the one and not the other."""
