//! The libraries that can be installed: which packages, exactly.

use std::str::FromStr;

use crate::backend::tensorrt::Flavor;

use super::product::Product;

/// A library that can be installed.
#[derive(Debug)]
pub struct Runtime {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The product.
    pub product: Product,
    /// What it is good for.
    pub about: &'static str,
    /// The terms it comes under.
    pub licence: Licence,
    /// What it is made of.
    pub(super) wheels: &'static [Wheel],
}

/// The terms a library comes under.
#[derive(Debug)]
pub struct Licence {
    /// Whose they are, or their name.
    pub name: &'static str,
    /// Whether they have to be accepted before anything is downloaded.
    pub must_be_accepted: bool,
    /// What each is for, and where it can be read.
    pub terms: &'static [(&'static str, &'static str)],
}

/// One package, pinned.
#[derive(Debug)]
pub(super) struct Wheel {
    /// What pip is asked for.
    pub(super) package: &'static str,
    /// The version of Python it was made for; none is run with it.
    pub(super) python: &'static str,
    /// The systems it was made for.
    pub(super) platform: &'static str,
    /// Its file.
    pub(super) file: &'static str,
    /// Bytes of that file.
    pub(super) bytes: u64,
    /// SHA-256 of that file.
    pub(super) sha256: &'static str,
    /// How the names of the libraries start that are taken out of it.
    pub(super) libraries: &'static [&'static str],
    /// Bytes of these libraries.
    pub(super) unpacked: u64,
}

/// Every runtime that can be installed.
pub static RUNTIMES: [Runtime; 3] = [
    Runtime {
        name: "tensorrt-rtx",
        version: "1.7.1",
        product: Product::TensorRt(Flavor::Rtx),
        about: "builds engines with no GPU; runs them on RTX GPUs",
        licence: Licence {
            name: "NVIDIA's",
            must_be_accepted: true,
            terms: &[(
                "TensorRT-RTX",
                "https://docs.nvidia.com/deeplearning/tensorrt-rtx/latest/reference/sla.html",
            )],
        },
        wheels: &[Wheel {
            package: "onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0",
            python: "3.12",
            platform: "manylinux_2_28_x86_64",
            file: "onnxruntime_ep_nv_tensorrt_rtx_cu13-0.5.0-py3-none-manylinux_2_28_x86_64.whl",
            bytes: 146_476_965,
            sha256: "32f575c633d171b4edf4b53d3bb22b72a6c9c0a850d2982ce9a788a5d40d3298",
            libraries: &["libtensorrt_rtx.so", "libtensorrt_onnxparser_rtx.so"],
            unpacked: 238_111_232,
        }],
    },
    Runtime {
        name: "tensorrt",
        version: "8.6.0",
        product: Product::TensorRt(Flavor::Standard),
        about: "builds and runs engines on GPUs up to Hopper, with cuBLAS and cuDNN",
        licence: Licence {
            name: "NVIDIA's",
            must_be_accepted: true,
            terms: &[
                ("TensorRT", "https://docs.nvidia.com/deeplearning/tensorrt/sla/index.html"),
                ("cuBLAS (CUDA)", "https://docs.nvidia.com/cuda/eula/index.html"),
                ("cuDNN", "https://docs.nvidia.com/deeplearning/cudnn/sla/index.html"),
            ],
        },
        wheels: &[
            Wheel {
                package: "tensorrt==8.6.0",
                python: "3.10",
                platform: "manylinux_2_17_x86_64",
                file: "tensorrt-8.6.0-cp310-none-manylinux_2_17_x86_64.whl",
                bytes: 819_200_558,
                sha256: "8850d470a92e17e65686fce2a5105dc51fc89f2b438d60d66027288a165732ba",
                libraries: &["libnvinfer", "libnvonnxparser"],
                unpacked: 1_276_740_208,
            },
            Wheel {
                package: "nvidia-cublas-cu12==12.1.3.1",
                python: "3.10",
                platform: "manylinux1_x86_64",
                file: "nvidia_cublas_cu12-12.1.3.1-py3-none-manylinux1_x86_64.whl",
                bytes: 410_594_774,
                sha256: "ee53ccca76a6fc08fb9701aa95b6ceb242cdaab118c3bb152af4e579af792728",
                libraries: &["libcublas"],
                unpacked: 622_564_232,
            },
            Wheel {
                package: "nvidia-cudnn-cu12==8.9.7.29",
                python: "3.10",
                platform: "manylinux1_x86_64",
                file: "nvidia_cudnn_cu12-8.9.7.29-py3-none-manylinux1_x86_64.whl",
                bytes: 704_741_186,
                sha256: "adf4f59ed7a1341103822ed8df6e144f4d47ea8b10d9bf0ea0047ba738fd7b02",
                libraries: &["libcudnn"],
                unpacked: 1_121_356_584,
            },
        ],
    },
    Runtime {
        name: "onnxruntime",
        version: "1.32.0",
        product: Product::OnnxRuntime,
        about: "runs models on the CPU: faster than the built-in backend, with nearly every \
                operator",
        licence: Licence {
            name: "MIT",
            must_be_accepted: false,
            terms: &[(
                "ONNX Runtime",
                "https://github.com/microsoft/onnxruntime/blob/main/LICENSE",
            )],
        },
        wheels: &[Wheel {
            // The library in it is the same for every version of Python.
            package: "onnxruntime==1.32.0",
            python: "3.12",
            platform: "manylinux_2_28_x86_64",
            file: "onnxruntime-1.32.0-cp312-cp312-manylinux_2_28_x86_64.whl",
            bytes: 27_780_211,
            sha256: "99e1074c4b2197accd5073052a465361be17b89c093b8ffb6e6bd8f986c52df8",
            libraries: &["libonnxruntime.so"],
            unpacked: 34_824_680,
        }],
    },
];

impl Runtime {
    /// The name of its folder.
    pub fn folder(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// The shortest text that names it, such as `tensorrt@8.6`.
    pub fn short(&self) -> String {
        // There are others, so that the name alone would promise the newest.
        if self.product != Product::TensorRt(Flavor::Standard) {
            return self.name.to_owned();
        }
        let minor = self.version.rsplit_once('.').map_or(self.version, |(minor, _)| minor);
        format!("{}@{minor}", self.name)
    }

    /// Product and version, for people.
    pub fn title(&self) -> String {
        format!("{} {}", self.product, self.version)
    }

    /// The packages that are downloaded, as pip is asked for them.
    pub fn packages(&self) -> impl Iterator<Item = &'static str> {
        self.wheels.iter().map(|wheel| wheel.package)
    }

    /// Bytes to download.
    pub fn download_bytes(&self) -> u64 {
        self.wheels.iter().map(|wheel| wheel.bytes).sum()
    }

    /// Bytes on disk once it is installed.
    pub fn installed_bytes(&self) -> u64 {
        self.wheels.iter().map(|wheel| wheel.unpacked).sum()
    }

    /// Whether a text such as `tensorrt@8.6` names it.
    fn is_named(&self, text: &str) -> bool {
        let Some((name, version)) = text.split_once('@') else { return text == self.short() };
        let rest = self.version.strip_prefix(version);
        name == self.name && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// A runtime, as the command line names it.
#[derive(Debug, Clone, Copy)]
pub struct RuntimeName(pub &'static Runtime);

impl FromStr for RuntimeName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        RUNTIMES.iter().find(|runtime| runtime.is_named(text)).map(Self).ok_or_else(|| {
            let known = RUNTIMES.each_ref().map(Runtime::short).join("`, `");
            format!(
                "`{known}` can be installed; other versions come from their makers, or as Python \
                 packages such as `tensorrt-cu12`, and are found where those put them"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_named_with_as_much_of_its_version_as_is_needed() {
        let named = |text: &str| text.parse::<RuntimeName>().map(|runtime| runtime.0.folder());
        for text in ["tensorrt-rtx", "tensorrt-rtx@1", "tensorrt-rtx@1.7", "tensorrt-rtx@1.7.1"] {
            assert_eq!(named(text).unwrap(), "tensorrt-rtx-1.7.1", "{text}");
        }
        for text in ["tensorrt@8", "tensorrt@8.6", "tensorrt@8.6.0"] {
            assert_eq!(named(text).unwrap(), "tensorrt-8.6.0", "{text}");
        }
        for text in ["onnxruntime", "onnxruntime@1", "onnxruntime@1.32.0"] {
            assert_eq!(named(text).unwrap(), "onnxruntime-1.32.0", "{text}");
        }
        for text in ["tensorrt", "tensorrt@", "tensorrt@8.60", "tensorrt@10", "rtx", "", "@8.6"] {
            let error = named(text).unwrap_err();
            assert!(error.contains("tensorrt@8.6"), "{text}: {error}");
        }
        for runtime in &RUNTIMES {
            assert_eq!(named(&runtime.short()).unwrap(), runtime.folder());
        }
    }
}
