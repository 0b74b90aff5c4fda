//! Holding a run to the lock file, and updating it afterwards.

use crate::artifact::{Artifact, ArtifactKind, Digest, Hasher};
use crate::backend;
use crate::plan::StageIndex;
use crate::stage::StageError;

use super::lock_file::{self, LockFile, LockFileError, LockedStage, LockedTarget, TargetStage};
use super::outcome::Tools;
use super::{Executor, Expected, StageOutcome};

const MEMO: &str = "lock";

/// In what a pipeline differs from its lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockMismatch {
    /// The stage, or `None` for the file as a whole.
    pub stage: Option<StageIndex>,
    /// What differs.
    pub message: String,
}

impl Executor<'_> {
    /// What `--locked` refuses before anything runs: requests and, where recorded for this
    /// machine, tools.
    pub fn lock_mismatches(
        &self,
        expected: &[Option<Expected>],
    ) -> Result<Vec<LockMismatch>, LockFileError> {
        let path = lock_file::path_for(&self.plan.spec().path);
        let Some(text) = lock_file::read(&path)? else {
            let message = format!("there is no lock file `{}`", path.display());
            return Ok(vec![LockMismatch { stage: None, message }]);
        };
        let lock = LockFile::parse(&path, &text)?;
        let mut found = Vec::new();
        for name in lock.stages.keys() {
            if self.plan.find(name).is_none() {
                let message = format!("the lock file has a stage `{name}`, the spec has not");
                found.push(LockMismatch { stage: None, message });
            }
        }
        let target = lock.targets.get(&lock_file::target_id(&backend::hardware()));
        for at in self.order() {
            found.extend(self.mismatch(at, &lock, target, expected[at].as_ref()));
        }
        Ok(found)
    }

    fn mismatch(
        &self,
        at: StageIndex,
        lock: &LockFile,
        target: Option<&LockedTarget>,
        expected: Option<&Expected>,
    ) -> Option<LockMismatch> {
        let name = self.name(at);
        let told = |message: String| Some(LockMismatch { stage: Some(at), message });
        let Some(locked) = lock.stages.get(name) else {
            return told(format!("`{name}` is not in the lock file"));
        };
        if let Some(request) = self.requests[at].filter(|request| *request != locked.request) {
            return told(format!(
                "`{name}` asks for something else than when it was locked (request {} -> {})",
                locked.request.short(),
                request.short()
            ));
        }
        if let (Some(Expected::Hit(hit, _)), Some(made)) = (expected, locked.artifact)
            && hit.artifact.digest != made
        {
            return told(format!(
                "`{name}` has made {} here, the lock file says {}",
                hit.artifact.digest.short(),
                made.short()
            ));
        }
        let tools = match expected? {
            Expected::Hit(_, tools) => tools,
            Expected::Miss(resolved) => &resolved.fingerprint.tools,
            Expected::Unknown | Expected::Unreadable(_) => return None,
        };
        let recorded = &target?.stages.get(name)?.tools;
        let changed = recorded.iter().find(|(tool, was)| tools.get(*tool) != Some(was));
        changed.and_then(|(tool, was)| {
            let now = tools.get(tool).map_or("absent", String::as_str);
            told(format!("`{name}` was locked with {tool} {was}, here it is {now}"))
        })
    }

    /// Fails if there is a lock file that cannot be read: the run could not update it.
    pub fn check_lock(&self) -> Result<(), LockFileError> {
        let path = lock_file::path_for(&self.plan.spec().path);
        match lock_file::read(&path)? {
            Some(text) => LockFile::parse(&path, &text).map(drop),
            None => Ok(()),
        }
    }

    /// Under `--locked`, a deterministic stage must make what the lock file says.
    pub(super) fn hold_to_lock(
        &self,
        at: StageIndex,
        artifact: &Artifact,
        tools: &Tools,
    ) -> Result<(), StageError> {
        if !self.options.locked || !self.plan.stages()[at].stage.deterministic(tools) {
            return Ok(());
        }
        // `lock_mismatches` has refused a lock file that cannot be read.
        let lock = self.lock.get_or_init(|| {
            let path = lock_file::path_for(&self.plan.spec().path);
            LockFile::parse(&path, &lock_file::read(&path).ok()??).ok()
        });
        match lock.as_ref().and_then(|lock| lock.stages.get(self.name(at))?.artifact) {
            Some(expected) if expected != artifact.digest => {
                Err(StageError::Locked { expected, found: artifact.digest })
            }
            _ => Ok(()),
        }
    }

    /// Writes what succeeded into the lock file, if that changes it.
    pub(super) fn update_lock(
        &self,
        outcomes: &[Option<StageOutcome>],
    ) -> Result<(), LockFileError> {
        let path = lock_file::path_for(&self.plan.spec().path);
        let text = lock_file::read(&path)?;
        // Reading a large lock file costs more than everything else a run without work does, so
        // it is remembered that this text already says what this run has to say.
        let memo = self.lock_memo(text.as_deref().unwrap_or(""), outcomes);
        if text.is_some() && self.store.memo_get(MEMO, &memo).is_some() {
            return Ok(());
        }
        let old = match &text {
            Some(text) => LockFile::parse(&path, text)?,
            None => LockFile { version: 1, ..LockFile::default() },
        };
        let new = self.updated(&old, outcomes);
        let mut memo = memo;
        if text.is_none() || new != old {
            if new.targets.is_empty() {
                return Ok(());
            }
            let text = new.to_text()?;
            lock_file::write(&path, &text)?;
            memo = self.lock_memo(&text, outcomes);
        }
        self.store.memo_put(MEMO, &memo, &serde_json::Value::Bool(true));
        Ok(())
    }

    fn updated(&self, old: &LockFile, outcomes: &[Option<StageOutcome>]) -> LockFile {
        let succeeded = |at: StageIndex| outcomes[at].as_ref().filter(|outcome| outcome.is_ok());
        let target_id = lock_file::target_id(&backend::hardware());
        let mut new = LockFile { version: 1, ..LockFile::default() };
        new.targets.clone_from(&old.targets);
        let before = old.targets.get(&target_id);
        let mut target = LockedTarget::default();
        for (at, planned) in self.plan.stages().iter().enumerate() {
            let name = &planned.name.value;
            let done = succeeded(at)
                .and_then(|outcome| Some((outcome, outcome.key?, outcome.artifact.as_ref()?)));
            if let (Some((outcome, key, artifact)), Some(request)) = (done, self.requests[at]) {
                let fixed = planned.stage.deterministic(&outcome.tools).then_some(artifact.digest);
                new.stages.insert(name.clone(), LockedStage { request, artifact: fixed });
                let tools = outcome.tools.clone();
                let engine = (artifact.kind == ArtifactKind::Engine).then_some(artifact.digest);
                let result = TargetStage { key, artifact: engine, tools };
                target.stages.insert(name.clone(), result);
                continue;
            }
            if let Some(kept) = old.stages.get(name) {
                new.stages.insert(name.clone(), kept.clone());
            }
            if let Some(kept) = before.and_then(|target| target.stages.get(name)) {
                target.stages.insert(name.clone(), kept.clone());
            }
        }
        if !target.stages.is_empty() {
            new.targets.insert(target_id, target);
        }
        for target in new.targets.values_mut() {
            target.stages.retain(|name, _| self.plan.find(name).is_some());
        }
        new
    }

    /// Digest of the lock file's text and of everything this run would put into it.
    fn lock_memo(&self, text: &str, outcomes: &[Option<StageOutcome>]) -> Digest {
        let mut hasher = Hasher::new(env!("CARGO_PKG_VERSION"));
        hasher.field(text.as_bytes());
        for (at, outcome) in outcomes.iter().enumerate() {
            hasher.field(self.name(at).as_bytes());
            let Some(outcome) = outcome.as_ref().filter(|outcome| outcome.is_ok()) else {
                continue;
            };
            for digest in [
                self.requests[at],
                outcome.key,
                outcome.artifact.as_ref().map(|artifact| artifact.digest),
            ] {
                hasher.field(digest.as_ref().map_or(b"", |digest| digest.as_bytes()));
            }
        }
        hasher.finish()
    }
}
