//! Counting down towards a limit.

use crate::error::RequestError;

/// How much of something a request may still have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    what: &'static str,
    left: usize,
    limit: usize,
}

impl Budget {
    /// `limit` of `what`, a noun in the plural that the error tells.
    pub(crate) fn new(what: &'static str, limit: usize) -> Self {
        Self { what, left: limit, limit }
    }

    /// Takes `amount` off.
    #[inline]
    pub(crate) fn spend(&mut self, amount: usize) -> Result<(), RequestError> {
        match self.left.checked_sub(amount) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(RequestError::TooMany { what: self.what, limit: self.limit }),
        }
    }
}
