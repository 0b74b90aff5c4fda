//! What a run would do, without doing it: hits, misses, and why a miss is one.

use std::collections::{BTreeMap, HashMap};

use crate::artifact::{Artifact, Digest, FieldChange, StageHit};
use crate::plan::StageIndex;
use crate::stage::StageError;

use super::event::{RunEvent, Will};
use super::resolve::Probe;
use super::{Executor, ResolvedStage, lock_file};

/// What is known of a stage before anything runs.
#[derive(Debug)]
pub enum Expected {
    /// The cache has its result; with the tools that entered the key.
    Hit(Box<StageHit>, BTreeMap<String, String>),
    /// It would run under this key.
    Miss(Box<ResolvedStage>),
    /// Its key depends on what a stage before it makes.
    Unknown,
    /// Its key cannot be told: an input or a tool cannot be read.
    Unreadable(StageError),
}

/// What `plan` shows of a stage.
#[derive(Debug)]
pub struct Expectation {
    /// The stage.
    pub stage: StageIndex,
    /// What would happen.
    pub will: Will,
    /// Its key, if it can be told now.
    pub key: Option<Digest>,
    /// What changed since its last result on this machine.
    pub because: Vec<FieldChange>,
    /// Why it would run, in a few words.
    pub reason: Option<String>,
}

impl Executor<'_> {
    /// Looks every stage up; by stage index, `None` for stages that do not take part, and for those
    /// that were not reached before the run was told to stop.
    pub fn expect(&self) -> Vec<Option<Expected>> {
        let mut expected: Vec<Option<Expected>> = self.wanted.iter().map(|_| None).collect();
        // Nothing runs meanwhile, so each tool needs to be looked at only once.
        let probe = self.resolver.remembering_probe(&self.cancel);
        for at in self.order() {
            if self.cancel.is_cancelled() {
                break;
            }
            let found = self.expect_stage(at, &expected, &probe);
            expected[at] = Some(found);
        }
        expected
    }

    fn expect_stage(
        &self,
        at: StageIndex,
        before: &[Option<Expected>],
        probe: &Probe<'_>,
    ) -> Expected {
        let is_hit = |stage: &StageIndex| matches!(before[*stage], Some(Expected::Hit(..)));
        let used = self.plan.stages()[at].inputs.iter().filter_map(|input| input.from.stage());
        if !used.clone().all(|stage| is_hit(&stage)) {
            return Expected::Unknown;
        }
        let artifacts = |stage: StageIndex| -> Option<Artifact> {
            match &before[stage] {
                Some(Expected::Hit(hit, _)) => Some(hit.artifact.clone()),
                _ => None,
            }
        };
        match self.resolver.resolve(at, &artifacts, &self.requests, probe) {
            Err(error) => Expected::Unreadable(error),
            Ok(resolved) => match self.cached(at, &resolved.key) {
                Some(hit) => Expected::Hit(Box::new(hit), resolved.fingerprint.tools),
                None => Expected::Miss(Box::new(resolved)),
            },
        }
    }

    /// Explains what [`Self::expect`] found, stage by stage in running order.
    pub fn explain(&self, expected: &[Option<Expected>]) -> Vec<Expectation> {
        let earlier = self.earlier_keys();
        self.order()
            .into_iter()
            .filter_map(|at| Some(self.explain_stage(at, expected[at].as_ref()?, &earlier)))
            .collect()
    }

    fn explain_stage(
        &self,
        at: StageIndex,
        expected: &Expected,
        earlier: &HashMap<String, Digest>,
    ) -> Expectation {
        let plain =
            |will, key, reason| Expectation { stage: at, will, key, because: Vec::new(), reason };
        match expected {
            Expected::Hit(hit, _) => plain(Will::Hit, Some(hit.key), None),
            Expected::Unknown => {
                let reason = "depends on what an earlier stage makes".to_owned();
                plain(Will::Unknown, None, Some(reason))
            }
            Expected::Unreadable(error) => plain(Will::Unknown, None, Some(error.to_string())),
            Expected::Miss(resolved) => {
                let mut told = plain(Will::Build, Some(resolved.key), None);
                let before = earlier.get(self.name(at));
                if self.is_forced(at) {
                    told.reason = Some("forced".to_owned());
                } else if before == Some(&resolved.key) {
                    told.reason = Some("its result is no longer in the cache".to_owned());
                } else if let Some(old) = before.and_then(|key| self.store.fingerprint(key)) {
                    told.because = resolved.fingerprint.changes_since(&old);
                } else {
                    told.reason = Some("no earlier result on this machine".to_owned());
                }
                told
            }
        }
    }

    /// Keys of the last results of this pipeline that the lock file knows, on any target.
    fn earlier_keys(&self) -> HashMap<String, Digest> {
        let path = lock_file::path_for(&self.plan.spec().path);
        let lock = lock_file::read(&path)
            .ok()
            .flatten()
            .and_then(|text| lock_file::LockFile::parse(&path, &text).ok());
        let mut keys = HashMap::new();
        for (name, stage) in
            lock.into_iter().flat_map(|lock| lock.targets).flat_map(|(_, target)| target.stages)
        {
            if !keys.contains_key(&name) || self.store.fingerprint(&stage.key).is_some() {
                keys.insert(name, stage.key);
            }
        }
        keys
    }

    /// How long stages took when they last ran, as far as this machine knows; by stage name.
    pub fn earlier_seconds(&self) -> HashMap<String, f64> {
        let keys = self.earlier_keys().into_iter();
        keys.filter_map(|(name, key)| Some((name, self.store.seconds(&key)?))).collect()
    }

    /// The event for one line of `plan`.
    pub fn plan_event(&self, told: &Expectation) -> RunEvent {
        let planned = &self.plan.stages()[told.stage];
        RunEvent::Plan {
            stage: planned.name.value.clone(),
            kind: planned.stage.kind().to_owned(),
            key: told.key.map(|key| key.to_string()),
            will: told.will,
            because: told.because.clone(),
        }
    }
}
