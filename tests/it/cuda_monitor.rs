//! What NVML tells of the CUDA driver's devices, over the stand-ins for both.

use trt_pipeline::backend::cuda::{Context, GpuClocks, GpuMonitor, GpuState, ThrottleReason};
use trt_pipeline::backend::{Backend as _, tensorrt::TensorRtBackend};

use crate::standin::Cuda;

#[test]
fn each_device_of_the_driver_is_found_by_its_uuid() {
    Cuda::new().with("DEVICES", 3).with_nvml().run(|| {
        let states = (0..3).map(|ordinal| GpuMonitor::of(ordinal).unwrap().state());
        let expected = (0..3).map(|ordinal: u32| GpuState {
            clocks: GpuClocks {
                sm_mhz: Some(1980),
                memory_mhz: Some(3201),
                throttle_reasons: Some(Vec::new()),
            },
            max_sm_mhz: Some(1980),
            max_memory_mhz: Some(3201),
            utilization_percent: Some(50 + ordinal),
            memory_utilization_percent: Some(20 + ordinal),
            temperature_celsius: Some(40 + ordinal),
            power_milliwatts: Some(300_000 + ordinal),
            performance_state: Some(ordinal),
            memory_used: Some((1 << 20) + u64::from(ordinal)),
            memory_total: Some(1 << 30),
        });
        assert_eq!(states.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        assert!(GpuMonitor::of(3).is_none());
    });
}

#[test]
fn the_backend_tells_how_busy_each_device_is() {
    Cuda::new().with("DEVICES", 2).with_nvml().run(|| {
        let busy = |device| TensorRtBackend.usage(device).unwrap().utilization;
        assert_eq!([None, Some(0), Some(1)].map(busy), [Some(0.5), Some(0.5), Some(0.51)]);
    });
}

#[test]
fn throttle_reasons_are_words_and_bits_of_newer_drivers_are_none() {
    let words = |clocks: &GpuClocks| {
        let reasons = clocks.throttle_reasons.as_ref().unwrap();
        reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let cuda = Cuda::new().with_nvml().and("STANDIN_NVML_REASONS", "0x1,0x24,0x1da,0x10000,0");
    cuda.run(|| {
        let monitor = GpuMonitor::of(0).unwrap();
        let seen: Vec<GpuClocks> = (0..5).map(|_| monitor.clocks()).collect();
        assert_eq!(
            seen.iter().map(words).collect::<Vec<_>>(),
            [
                "idle",
                "power cap, thermal slowdown",
                "application clocks, hardware slowdown, sync boost, hardware thermal slowdown, \
                 power brake, display clocks",
                "",
                "",
            ]
        );
        let slows = |clocks: &GpuClocks| {
            clocks.throttle_reasons.iter().flatten().any(|reason| reason.slows_work())
        };
        assert_eq!(seen.iter().map(slows).collect::<Vec<_>>(), [false, true, true, false, false]);
        assert_eq!(serde_json::to_value(ThrottleReason::PowerCap).unwrap(), "power_cap");
    });
}

#[test]
fn what_a_gpu_does_not_tell_is_left_out_of_what_it_tells() {
    let lacks = "nvmlDeviceGetPowerUsage,nvmlDeviceGetUtilizationRates,\
                 nvmlDeviceGetCurrentClocksThrottleReasons,nvmlDeviceGetMemoryInfo_v2";
    Cuda::new().with_nvml().and("STANDIN_NVML_LACKS", lacks).run(|| {
        let state = GpuMonitor::of(0).unwrap().state();
        assert_eq!((state.power_milliwatts, state.utilization_percent), (None, None));
        assert_eq!((state.clocks.throttle_reasons, state.memory_used), (None, None));
        assert_eq!((state.clocks.sm_mhz, state.temperature_celsius), (Some(1980), Some(40)));
        assert_eq!(TensorRtBackend.usage(None).unwrap().utilization, None);
    });
}

#[test]
fn a_device_that_nvml_does_not_know_has_no_monitor_and_the_others_have() {
    let cuda = Cuda::new().with("DEVICES", 2).with_nvml();
    cuda.and("STANDIN_NVML_DEVICES", 1).run(|| {
        assert!(GpuMonitor::of(0).is_some());
        assert!(GpuMonitor::of(1).is_none());
    });
}

#[test]
fn without_nvml_everything_else_works() {
    Cuda::new().run(|| {
        assert!(GpuMonitor::of(0).is_none());
        Context::new(0).unwrap();
        let usage = TensorRtBackend.usage(Some(0)).unwrap();
        assert_eq!((usage.total, usage.utilization), (1 << 30, None));
    });
}

#[test]
fn an_nvml_that_does_not_start_is_as_none() {
    // 9: its kernel module is not loaded; 999: something else.
    for (code, test) in [("9", "not loaded"), ("999", "unknown")] {
        Cuda::new().with_nvml().and("STANDIN_NVML_INIT", code).run(|| {
            assert!(GpuMonitor::of(0).is_none(), "{test}");
        });
    }
}

#[test]
fn without_a_cuda_driver_there_is_nothing_to_monitor() {
    Cuda::missing().with_nvml().unstarted().run(|| assert!(GpuMonitor::of(0).is_none()));
}
