//! Whether a deployment fits into memory, before it is loaded.
//!
//! What a load will take is an estimate: see [`need`]. Loads of several models at the same time
//! are kept from counting on the same memory by [`Budget`].

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::backend::{self, Backend, EngineManifest};
use crate::deployment::ModelConfig;
use crate::runtime::{Candidate, Model};

use super::Gate;
use super::memory::{Memory, Place};

/// The gate's name.
const NAME: &str = "memory";

/// The least that is expected per byte of an engine's files, whatever was measured: a load may
/// have found memory that was freed just before. Nor is more believed than twice what the backend
/// says: other things may have taken memory meanwhile.
const LEAST_FACTOR: f64 = 2.0;

/// What every model takes beside its weights: threads, staging, tables.
const HOST_BASE: u64 = 8 << 20;

/// What is left alone, for everything else that goes on.
const MARGIN: u64 = 32 << 20;

/// Bytes by place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Need(BTreeMap<Place, u64>);

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (place, bytes)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{} of {place}", Mebibytes(*bytes))?;
        }
        Ok(())
    }
}

struct Mebibytes(u64);

impl fmt::Display for Mebibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0.div_ceil(1 << 20))
    }
}

/// What is known of the model that serves now.
pub(super) struct Known<'a> {
    /// Its files and its loaded engine.
    pub(super) serving: Option<(&'a Candidate, &'a Model)>,
    /// Host bytes that loading a version took per byte of its files.
    pub(super) host_bytes_per_byte: f64,
}

/// Bytes of the files in an engine's folder.
pub(super) fn file_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: fs::DirEntry| {
        let data = entry.metadata().ok()?;
        Some(if data.is_dir() { file_bytes(&entry.path()) } else { data.len() })
    };
    entries.flatten().filter_map(size).sum()
}

/// What loading a deployment takes. On the host: the size of its files times what a load of the
/// model was measured to take per byte, or what the backend says of an engine that runs on as many
/// shapes as there are batches to prepare for. On a device: what the serving version holds there,
/// in proportion to its files; before there is one, the size of the files and of the scratch
/// memory of each instance.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate in bytes"
)]
pub(super) fn need(candidate: &Candidate, known: &Known<'_>) -> Need {
    let files = file_bytes(&candidate.engine);
    let model = &candidate.deployment.model;
    let backend = backend::by_name(&model.engine.backend).ok();
    let said = backend.map_or(LEAST_FACTOR, |backend| backend.host_bytes_per_byte(shapes(model)));
    let measured = known.host_bytes_per_byte;
    let factor = if measured > 0.0 { measured.clamp(LEAST_FACTOR, said * 2.0) } else { said };
    let mut host = HOST_BASE.saturating_add((files as f64 * factor) as u64);
    let mut needs = BTreeMap::new();
    let devices = devices(backend, model.devices.as_deref());
    if !devices.is_empty() {
        let before = known.serving.and_then(|(old, model)| {
            Some((model.memory()?, files as f64 / file_bytes(&old.engine).max(1) as f64))
        });
        let device = match before {
            Some((held, ratio)) => {
                host = host.saturating_add((held.pinned.current as f64 * ratio) as u64);
                (held.device.current as f64 * ratio / devices.len() as f64) as u64
            }
            None => files.saturating_add(scratch(&candidate.engine, model.instances)),
        };
        let places = devices.into_iter().map(|number| (model.engine.backend.clone(), number));
        needs.extend(places.map(|(backend, number)| (Place::Device(backend, number), device)));
    }
    needs.insert(Place::Host, host);
    Need(needs)
}

/// Batch sizes that an engine is prepared for: about one per power of two.
fn shapes(model: &ModelConfig) -> usize {
    let largest = model.batching.as_ref().map_or(1, |batching| batching.max_batch.max(1));
    1 + largest.ilog2() as usize
}

/// What the contexts of an engine need beyond inputs and outputs, where it says so.
fn scratch(engine: &Path, instances: usize) -> u64 {
    let facts = EngineManifest::read(engine).ok().and_then(|manifest| manifest.tensorrt);
    let each = facts.and_then(|facts| facts.device_memory).unwrap_or(0);
    each.saturating_mul(instances as u64)
}

/// The devices a deployment runs on: those it names, or all that there are.
fn devices(backend: Option<&dyn Backend>, named: Option<&[u32]>) -> Vec<usize> {
    let Some(backend) = backend.filter(|backend| backend.has_devices()) else {
        return Vec::new();
    };
    let all = || backend.devices().unwrap_or_default().into_iter().flatten().collect();
    named.map_or_else(all, |named| named.iter().map(|&number| number as usize).collect())
}

/// Memory for a version that is to be loaded.
pub(super) enum Room {
    /// There is enough beside what is loaded.
    Beside(Reservation),
    /// There is once what serves is unloaded.
    InPlaceOfServing(Reservation),
}

/// Looks for room, and says in a gate what was found. Only where `may_drain`, what serves may have
/// to make room.
pub(super) fn room(
    budget: &Budget,
    candidate: &Candidate,
    known: &Known<'_>,
    may_drain: bool,
) -> (Option<Room>, Gate) {
    let need = need(candidate, known);
    let about = format!("needs about {need}");
    let short = match budget.reserve(need.clone(), &Need::default()) {
        Ok(room) => return (Some(Room::Beside(room)), Gate::passed(NAME, about)),
        Err(Shortage { place, need, available }) => {
            format!("needs about {} of {place}, {} are free", Mebibytes(need), Mebibytes(available))
        }
    };
    let Some((serving, _)) = known.serving else {
        return (None, Gate::failed(NAME, short));
    };
    if !may_drain {
        let detail = format!(
            "{short} beside the version that serves; `reload.on_low_memory: drain_first` unloads \
             that one first"
        );
        return (None, Gate::failed(NAME, detail));
    }
    let Ok(room) = budget.reserve(need, &self::need(serving, known)) else {
        let detail = format!("{short}, and unloading the version that serves would not be enough");
        return (None, Gate::failed(NAME, detail));
    };
    let detail = format!("{short}; the version that serves makes room");
    (Some(Room::InPlaceOfServing(room)), Gate::passed(NAME, detail))
}

/// Too little memory in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shortage {
    pub(super) place: Place,
    pub(super) need: u64,
    pub(super) available: u64,
}

/// Memory that loads under way count on.
pub(in crate::runtime) struct Budget {
    pub(super) memory: Box<dyn Memory>,
    reserved: Arc<Mutex<Need>>,
}

/// Memory that one load counts on, until dropped.
pub(super) struct Reservation {
    need: Need,
    reserved: Arc<Mutex<Need>>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, bytes) in &self.need.0 {
            if let Some(sum) = reserved.0.get_mut(place) {
                *sum = sum.saturating_sub(*bytes);
            }
        }
        reserved.0.retain(|_, sum| *sum > 0);
    }
}

impl Budget {
    pub(in crate::runtime) fn new(memory: Box<dyn Memory>) -> Self {
        Self { memory, reserved: Arc::default() }
    }

    /// Sets aside what a load needs, where there is that much once `freed` is given back.
    pub(super) fn reserve(&self, need: Need, freed: &Need) -> Result<Reservation, Shortage> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, &bytes) in &need.0 {
            let Some(available) = self.memory.available(place) else { continue };
            let taken = reserved.0.get(place).copied().unwrap_or(0).saturating_add(MARGIN);
            let freed = freed.0.get(place).copied().unwrap_or(0);
            let available = available.saturating_add(freed).saturating_sub(taken);
            if bytes > available {
                return Err(Shortage { place: place.clone(), need: bytes, available });
            }
        }
        for (place, &bytes) in &need.0 {
            let sum = reserved.0.entry(place.clone()).or_default();
            *sum = sum.saturating_add(bytes);
        }
        Ok(Reservation { need, reserved: Arc::clone(&self.reserved) })
    }
}

#[cfg(test)]
mod tests {
    use crate::artifact::Digest;
    use crate::backend::fake::Fake;
    use crate::backend::{EngineMemory, MemoryStats};
    use crate::deployment::Deployment;

    use super::*;

    struct Fixed(u64);

    impl Memory for Fixed {
        fn available(&self, place: &Place) -> Option<u64> {
            (*place == Place::Host).then_some(self.0)
        }
        fn resident(&self) -> Option<u64> {
            None
        }
    }

    fn host(bytes: u64) -> Need {
        Need(BTreeMap::from([(Place::Host, bytes)]))
    }

    #[test]
    fn what_one_load_counts_on_is_not_there_for_another() {
        let budget = Budget::new(Box::new(Fixed(MARGIN + 100)));
        let first = budget.reserve(host(60), &Need::default()).unwrap();
        let shortage = budget.reserve(host(60), &Need::default()).err().unwrap();
        assert_eq!(shortage, Shortage { place: Place::Host, need: 60, available: 40 });
        let second = budget.reserve(host(60), &host(20)).unwrap();
        drop(first);
        assert!(budget.reserve(host(60), &Need::default()).is_err());
        drop(second);
        assert!(budget.reserve(host(100), &Need::default()).is_ok());
        assert!(budget.reserved.lock().unwrap().0.is_empty());
    }

    #[test]
    fn memory_that_nobody_counts_bounds_nothing() {
        let budget = Budget::new(Box::new(Fixed(MARGIN)));
        let device = Need(BTreeMap::from([(Place::Device("tensorrt".into(), 0), u64::MAX)]));
        assert!(budget.reserve(device, &Need::default()).is_ok());
        assert!(budget.reserve(host(u64::MAX), &Need::default()).is_err());
    }

    #[test]
    fn files_are_counted_in_folders_too() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("weights")).unwrap();
        fs::write(folder.path().join("engine.json"), [0; 10]).unwrap();
        fs::write(folder.path().join("weights/0"), [0; 100]).unwrap();
        assert_eq!(file_bytes(folder.path()), 110);
        assert_eq!(file_bytes(&folder.path().join("missing")), 0);
    }

    /// A TensorRT deployment with so many bytes of files.
    fn tensorrt(folder: &Path, bytes: usize, fake: &Fake) -> Candidate {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("engine.plan"), vec![0; bytes]).unwrap();
        let mut model = fake.config("m");
        model.engine.backend = "tensorrt".into();
        model.devices = Some(vec![0, 3]);
        Candidate {
            digest: Digest::of(b"m"),
            deployment: Deployment::new(model),
            folder: folder.to_owned(),
            engine: folder.to_owned(),
            lease: None,
        }
    }

    #[test]
    fn devices_need_what_the_former_version_holds_in_proportion() {
        let folder = tempfile::tempdir().unwrap();
        let stats = |current| MemoryStats { current, ..MemoryStats::default() };
        let mut fake = Fake::default();
        fake.memory = Some(EngineMemory { device: stats(3000), pinned: stats(500) });
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        let (old, new) = (tensorrt(&old, 1000, &fake), tensorrt(&new, 2000, &fake));
        let device = |number| Place::Device("tensorrt".into(), number);

        let unknown = Known { serving: None, host_bytes_per_byte: 0.0 };
        let first = need(&new, &unknown).0;
        assert_eq!((first[&device(0)], first[&device(3)]), (2000, 2000));
        assert_eq!(first[&Place::Host], HOST_BASE + 2 * 2000);

        let fake = Arc::new(fake);
        let folder = folder.path().join("fake");
        fs::create_dir(&folder).unwrap();
        fake.save(&folder);
        let model = Model::load(fake.config("m"), 1, &folder, &folder).unwrap();
        let known = Known { serving: Some((&old, &model)), host_bytes_per_byte: 3.0 };
        let next = need(&new, &known).0;
        // Twice the files, on two devices.
        assert_eq!((next[&device(0)], next[&device(3)]), (3000, 3000));
        assert_eq!(next[&Place::Host], HOST_BASE + 3 * 2000 + 2 * 500);
    }

    #[test]
    fn what_was_measured_is_believed_within_reason() {
        let folder = tempfile::tempdir().unwrap();
        let candidate = tensorrt(folder.path(), 1000, &Fake::default());
        for (measured, factor) in [(0.0, 2), (0.5, 2), (3.0, 3), (900.0, 4)] {
            let known = Known { serving: None, host_bytes_per_byte: measured };
            assert_eq!(need(&candidate, &known).0[&Place::Host], HOST_BASE + factor * 1000);
        }
    }
}
