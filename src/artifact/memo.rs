//! Small facts derived from content, kept so that they need not be derived again. Losing one
//! costs time, never correctness; so nothing here fails.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::stat_db::{Sync, replace_file};
use super::{Digest, Store};

impl Store {
    /// The fact kept under a name and key, if it is there and intact.
    pub fn memo_get(&self, namespace: &str, key: &Digest) -> Option<Value> {
        let text = fs::read_to_string(self.memo_path(namespace, key)?).ok()?;
        let (checksum, json) = text.split_once('\n')?;
        if checksum.parse() != Ok(Digest::of(json.as_bytes())) {
            return None;
        }
        serde_json::from_str(json).ok()
    }

    /// Keeps a fact under a name (of letters, digits, `-` and `_`) and the digest of all that it
    /// was derived from.
    pub fn memo_put(&self, namespace: &str, key: &Digest, value: &Value) {
        let Some(path) = self.memo_path(namespace, key) else { return };
        let json = value.to_string();
        let text = format!("{}\n{json}", Digest::of(json.as_bytes()));
        let written = self.prepare_to_write().and_then(|()| {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(super::StoreError::io("create", folder))?;
            }
            replace_file(&path, text.as_bytes(), &self.folder("tmp"), Sync::Later)
        });
        if let Err(error) = written {
            tracing::debug!("{error}");
        }
    }

    fn memo_path(&self, namespace: &str, key: &Digest) -> Option<PathBuf> {
        let is_name = !namespace.is_empty()
            && namespace.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        is_name.then(|| {
            let mut path = self.root().join("memo");
            path.push(namespace);
            path.push(key.to_string());
            path
        })
    }
}
