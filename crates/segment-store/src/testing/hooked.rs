//! A bucket over another, where something happens besides.

use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Bucket, BucketError, Etag, GetRange, ListPage, Object, ObjectMeta, PutCondition, PutId};

/// What is asked of a bucket.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// [`Bucket::put`]
    Put {
        /// Which object.
        key: &'a str,
    },
    /// [`Bucket::get`]
    Get {
        /// Which object.
        key: &'a str,
        /// Which part of it.
        range: &'a GetRange,
    },
    /// [`Bucket::get_if_changed`]
    GetIfChanged {
        /// Which object.
        key: &'a str,
    },
    /// [`Bucket::head`]
    Head {
        /// Which object.
        key: &'a str,
    },
    /// [`Bucket::list`]
    List {
        /// Where it begins.
        start_after: Option<&'a str>,
    },
    /// [`Bucket::delete_many`]
    Delete {
        /// Which objects.
        keys: &'a [String],
    },
}

/// What happens besides.
#[async_trait]
pub trait Hook: Send + Sync + Debug + 'static {
    /// Before `request` is passed on to `bucket`. An error is the answer, and nothing is passed on.
    async fn before(&self, bucket: &dyn Bucket, request: Request<'_>) -> Result<(), BucketError>;

    /// After `body` was stored under `key`.
    fn stored(&self, key: &str, body: &Bytes) {
        let _ = (key, body);
    }
}

/// Passes every request on to a bucket, and lets a hook hear of it. It can be used as the hook.
#[derive(Debug)]
pub struct Hooked<H> {
    inner: Arc<dyn Bucket>,
    hook: H,
}

impl<H: Hook> Hooked<H> {
    /// `inner` with `hook`.
    #[must_use]
    pub fn new(inner: Arc<dyn Bucket>, hook: H) -> Self {
        Self { inner, hook }
    }
}

impl<H> Deref for Hooked<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.hook
    }
}

#[async_trait]
impl<H: Hook> Bucket for Hooked<H> {
    async fn put(
        &self,
        key: &str,
        body: Bytes,
        condition: PutCondition,
        put_id: Option<PutId>,
    ) -> Result<Etag, BucketError> {
        self.hook.before(&*self.inner, Request::Put { key }).await?;
        let etag = self.inner.put(key, body.clone(), condition, put_id).await?;
        self.hook.stored(key, &body);
        Ok(etag)
    }

    async fn get(&self, key: &str, range: GetRange) -> Result<Object, BucketError> {
        self.hook.before(&*self.inner, Request::Get { key, range: &range }).await?;
        self.inner.get(key, range).await
    }

    async fn get_if_changed(&self, key: &str, known: Option<&Etag>) -> Result<Option<Object>, BucketError> {
        self.hook.before(&*self.inner, Request::GetIfChanged { key }).await?;
        self.inner.get_if_changed(key, known).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, BucketError> {
        self.hook.before(&*self.inner, Request::Head { key }).await?;
        self.inner.head(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        max_keys: usize,
    ) -> Result<ListPage, BucketError> {
        self.hook.before(&*self.inner, Request::List { start_after }).await?;
        self.inner.list(prefix, start_after, max_keys).await
    }

    async fn delete_many(&self, keys: &[String]) -> Result<(), BucketError> {
        self.hook.before(&*self.inner, Request::Delete { keys }).await?;
        self.inner.delete_many(keys).await
    }
}
