//! Whether a calibration cache is one that a build can use.

use std::path::Path;

use crate::backend::tensorrt::{Calibrator, LibraryVersion};
use crate::calibration::{CacheError, CalibrationCache, Method};

/// The name under which caches know an algorithm.
pub(in crate::backend::tensorrt) fn algorithm_name(calibrator: Calibrator) -> &'static str {
    match calibrator {
        Calibrator::Entropy => Method::Entropy.cache_algorithm(),
        Calibrator::Minmax => Method::Minmax.cache_algorithm(),
    }
}

/// Reads a cache that a build is to use. Another version than the library's is no error but a
/// warning: TensorRT then decides.
pub(in crate::backend::tensorrt) fn load_cache(
    path: &Path,
    calibrator: Calibrator,
    library: LibraryVersion,
) -> Result<CalibrationCache, CacheError> {
    let cache = CalibrationCache::read(path)?;
    let expected = algorithm_name(calibrator);
    if cache.algorithm != expected {
        return Err(CacheError::Algorithm { found: cache.algorithm, expected });
    }
    if cache.version != library.number() {
        tracing::warn!(
            "calibration cache `{}` is of version {}, and TensorRT of {}: where layers are merged \
             in another way, some ranges will be missing",
            path.display(),
            cache.version,
            library.number()
        );
    }
    Ok(cache)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "TRT-8600-EntropyCalibration2\nimage: 3c010204\n";

    #[test]
    fn a_cache_is_used_where_its_algorithm_is_the_one_asked_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), TEXT).unwrap();
        let load = |calibrator, version: &str| {
            load_cache(file.path(), calibrator, version.parse().unwrap())
        };
        assert_eq!(load(Calibrator::Entropy, "8.6.0.12").unwrap().to_string(), TEXT);
        assert!(load(Calibrator::Entropy, "10.13.3.9").is_ok());
        insta::assert_snapshot!(
            load(Calibrator::Minmax, "8.6.0.12").unwrap_err(),
            @"the calibration cache was made by EntropyCalibration2, and the build asks for MinMaxCalibration"
        );
        let version = "8.6.0.12".parse().unwrap();
        let missing = load_cache(Path::new("nowhere"), Calibrator::Entropy, version);
        assert!(matches!(missing, Err(CacheError::Read { .. })));
    }
}
