//! A bucket in memory: as strict as any, and deterministic.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_128;

use crate::bucket::check_key;
use crate::{
    Bucket, BucketError, Etag, GetRange, ListPage, ListedObject, Object, ObjectMeta, Operation, PutCondition,
    PutId,
};

/// A bucket in memory.
#[derive(Debug)]
pub struct MemoryBucket {
    objects: Mutex<BTreeMap<String, Stored>>,
    /// What a page of a listing has at most.
    page_keys: usize,
}

/// As on S3.
const LIST_MAX_KEYS: usize = 1_000;

impl Default for MemoryBucket {
    fn default() -> Self {
        Self::with_pages_of(LIST_MAX_KEYS)
    }
}

#[derive(Clone, Debug)]
struct Stored {
    body: Bytes,
    etag: Etag,
    put_id: Option<PutId>,
}

impl MemoryBucket {
    /// A bucket with at most `page_keys` keys in a page of a listing; by default 1,000, as on S3.
    #[must_use]
    pub fn with_pages_of(page_keys: usize) -> Self {
        Self { objects: Mutex::default(), page_keys }
    }

    fn find(&self, operation: Operation, key: &str) -> Result<Stored, BucketError> {
        check_key(operation, key)?;
        let not_found = || BucketError::NotFound { operation, key: key.to_owned() };
        self.objects.lock().get(key).cloned().ok_or_else(not_found)
    }
}

#[async_trait]
impl Bucket for MemoryBucket {
    async fn put(
        &self,
        key: &str,
        body: Bytes,
        condition: PutCondition,
        put_id: Option<PutId>,
    ) -> Result<Etag, BucketError> {
        check_key(Operation::Put, key)?;
        let mut objects = self.objects.lock();
        let found = objects.get(key);
        let holds = match &condition {
            PutCondition::Always => true,
            PutCondition::IfAbsent => found.is_none(),
            PutCondition::IfMatch(etag) => found.is_some_and(|stored| stored.etag == *etag),
        };
        if !holds {
            return Err(BucketError::PreconditionFailed { operation: Operation::Put, key: key.to_owned() });
        }
        let etag = Etag::new(&format!("{:032x}", xxh3_128(&body)));
        objects.insert(key.to_owned(), Stored { body, etag: etag.clone(), put_id });
        Ok(etag)
    }

    async fn get(&self, key: &str, range: GetRange) -> Result<Object, BucketError> {
        let stored = self.find(Operation::Get, key)?;
        let len = stored.body.len() as u64;
        let bytes = range.resolve(len).ok_or_else(|| BucketError::range_not_satisfiable(key, &range, len))?;
        let body = stored.body.slice(bytes.start as usize..bytes.end as usize);
        Ok(Object { body, etag: stored.etag, len })
    }

    async fn get_if_changed(&self, key: &str, known: Option<&Etag>) -> Result<Option<Object>, BucketError> {
        let object = self.get(key, GetRange::Full).await?;
        Ok((known != Some(&object.etag)).then_some(object))
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, BucketError> {
        let stored = self.find(Operation::Head, key)?;
        Ok(ObjectMeta { len: stored.body.len() as u64, etag: stored.etag, put_id: stored.put_id })
    }

    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        max_keys: usize,
    ) -> Result<ListPage, BucketError> {
        let objects = self.objects.lock();
        let after = match start_after {
            Some(start_after) if start_after >= prefix => Bound::Excluded(start_after),
            _ => Bound::Included(prefix),
        };
        let mut rest = objects
            .range::<str, _>((after, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, stored)| ListedObject { key: key.clone(), len: stored.body.len() as u64 });
        let page = rest.by_ref().take(max_keys.clamp(1, self.page_keys)).collect();
        Ok(ListPage { objects: page, truncated: rest.next().is_some() })
    }

    async fn delete_many(&self, keys: &[String]) -> Result<(), BucketError> {
        for key in keys {
            check_key(Operation::Delete, key)?;
        }
        let mut objects = self.objects.lock();
        for key in keys {
            objects.remove(key);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::conformance;

    #[tokio::test]
    async fn conforms() {
        conformance::check(Arc::new(MemoryBucket::default()), "memory").await;
    }
}
